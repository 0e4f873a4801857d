"""A server's tool as one of ours: waits for its server, calls it, and says what went wrong in words a model can use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from hermesd.mcp import output, results
from hermesd.mcp.asking import on_behalf_of
from hermesd.mcp.errors import McpError
from hermesd.mcp.faults import Faults
from hermesd.tools.base import ToolResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import McpServerConfig
    from hermesd.mcp.catalog import Offer
    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext


Json = dict[str, Any]
"""A JSON object of a server."""

FINAL = frozenset({"auth", "disabled", "failed"})
"""States in which waiting is of no use: only a person can help."""

MAX_PAGES = 5


class Reachable(Protocol):
    """What of ``mcp.server.McpServer`` a call needs. Results are plain data; failures are McpError."""

    @property
    def state(self) -> str:
        """As in ``mcp.server``."""

    async def wait_ready(self, timeout_s: float) -> bool:
        """Whether it is ready within the time."""

    def unavailable(self) -> McpError:
        """Why it is not."""

    async def call_tool(self, name: str, arguments: Json | None = None, *, timeout_s: float | None = None) -> Json:
        """tools/call."""

    async def list_resources(self, *, cursor: str | None = None) -> Json:
        """One page of resources/list."""

    async def read_resource(self, uri: str) -> Json:
        """resources/read."""

    async def list_prompts(self, *, cursor: str | None = None) -> Json:
        """One page of prompts/list."""

    async def get_prompt(self, name: str, arguments: dict[str, str] | None = None) -> Json:
        """prompts/get."""


class Page(Protocol):
    """A list that comes in pages."""

    async def __call__(self, *, cursor: str | None = None) -> Json:
        """The page at the cursor."""


class Access(Protocol):
    """How a tool finds its server at the time of the call: servers come and go, tools are kept by turns."""

    def reach(self, server: str) -> tuple[Reachable, McpServerConfig]:
        """The server that runs under this name now; McpError(kind="down") when there is none."""

    async def checked(self, server: str) -> None:
        """Wait until what the server offers now has been compared with what was approved. Raises McpError."""

    def is_current(self, offer: Offer) -> bool:
        """Whether the definition the model was shown is still in force (False: quarantined, gone or changed)."""

    def login_command(self, server: str) -> str:
        """What a person types to sign in."""


class McpTool:
    """``tools.base.Tool`` for one offer."""

    def __init__(self, name: str, offer: Offer, access: Access) -> None:
        self.name = name
        self.description = offer.description
        self.parameters = offer.parameters
        self.offer = offer
        self._access = access

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """As the server's hints say if it is trusted, otherwise unsafe."""
        return self.offer.effect

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """Call it. What a server says is untrusted, its errors too."""
        try:
            with on_behalf_of(context):
                return await call(self._access, self.offer, dict(arguments))
        except McpError as error:
            return failure(self._access, self.offer.server, self.name, error)


async def call(access: Access, offer: Offer, arguments: dict[str, Any]) -> ToolResult:
    """One call of whatever kind, once its server is ready. Raises McpError."""
    server, config = access.reach(offer.server)
    if server.state not in {"ready", *FINAL} and not await server.wait_ready(config.connect_timeout):
        raise server.unavailable()
    await access.checked(offer.server)
    if not access.is_current(offer):
        what = f"{offer.tool} was not called: the MCP server {offer.server!r} now says something else about it"
        step = f"The user must look at it (`hermesctl mcp show {offer.server}`) and approve it."
        return ToolResult(f"{what}, or offers it no more. {step}", is_error=True)
    match offer.kind:
        case "tool":
            found = await server.call_tool(offer.tool, arguments, timeout_s=config.timeout)
            _compare(offer, found)
            return ToolResult(results.call_text(found), is_error=bool(found.get("isError")), untrusted=True)
        case "list_resources":
            text = await _listing(server.list_resources, "resources", _RESOURCE_KEYS)
        case "read_resource":
            text = results.resource_text(await server.read_resource(str(arguments["uri"])))
        case "list_prompts":
            text = await _listing(server.list_prompts, "prompts", _PROMPT_KEYS)
        case "get_prompt":
            given = arguments.get("arguments") or {}
            words = {str(key): str(value) for key, value in given.items()}
            text = results.prompt_text(await server.get_prompt(str(arguments["name"]), words))
    return ToolResult(text, untrusted=True)


def _compare(offer: Offer, found: Json) -> None:
    """Raise McpError (protocol) for a structured answer that is not what the tool's definition says."""
    if offer.output is None or found.get("isError"):
        return
    answer = found.get("structuredContent")
    if what := output.complaint(offer.output, answer):
        if answer is None:
            what = "it has no structured content, which the tool's definition promises"
        raise McpError(f"by its output schema {what[:300]}", kind="protocol", where=f"mcp/{offer.server}")


_RESOURCE_KEYS = ("uri", "name", "title", "description", "mimeType", "size")
_PROMPT_KEYS = ("name", "title", "description", "arguments")


async def _listing(page: Page, key: str, shown: tuple[str, ...]) -> str:
    """The items of the first pages of a list, with these keys of them, and what of it cannot be used."""
    items: list[object] = []
    faults = Faults()
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        found = await page(cursor=cursor)
        items += found.get(key) or []
        faults.take(found)
        cursor = found.get("nextCursor")
        if not cursor:
            break
    else:
        faults.note(f"the list goes on after {MAX_PAGES} pages, which were not read")
    return "\n".join([results.listing(items, *shown), *(f"[{each}]" for each in faults.told())])


def failure(access: Access, server: str, tool: str, error: McpError) -> ToolResult:
    """A sentence for the model: what happened, whether the call may have had its effect, and what to do."""
    if error.needs_reauth:
        step = f"The MCP server {server!r} requires signing in. The user must run `{access.login_command(server)}`."
        body = {"error": f"{step} {error.what}".strip(), "needs_reauth": True, "server": server}
        return ToolResult(msgspec.json.encode(body).decode(), is_error=True, untrusted=True)
    words = {
        "down": f"{tool} was not called or broke off, because the MCP server {server!r} is not there: {error.what}. "
        f"{_prospect(access, server)}",
        "timeout": f"{tool} was given up: {error.what}. The call may nevertheless have had its effect.",
        "protocol": f"{tool} failed: the MCP server {server!r} gave an answer that makes no sense: {error.what}.",
        "cancelled": f"{tool} was cancelled: {error.what}.",
        "tool": f"{tool} failed: {error.what}",
    }
    return ToolResult(results.bounded(words.get(error.kind, str(error))), is_error=True, untrusted=True)


def _prospect(access: Access, server: str) -> str:
    """Whether it is of any use to try again."""
    try:
        access.reach(server)
    except McpError:
        return "It does not run any more, because its user has decided so; do without it."
    return "hermesd goes on trying to reach it; try again later, or do without it."

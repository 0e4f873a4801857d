"""One session with a server: the handshake, the list of tools, and what the SDK's errors mean to us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import hermesd
from hermesd.mcp.errors import McpError
from hermesd.mcp.faults import Faults
from hermesd.mcp.sanitize import shortened

if TYPE_CHECKING:
    from mcp import ClientSession
    from mcp.shared.exceptions import MCPError
    from mcp_types import Implementation, PaginatedRequestParams
    from pydantic import BaseModel

    from hermesd.mcp.errors import McpErrorKind
    from hermesd.mcp.link import Link

PAGES = 100
MAX_ERROR = 4096  # characters of a server's own words about what went wrong
OF_THE_SDK = ("Connection closed", "SSE stream ")
"""How its own errors of the code -32000 begin. Servers use that code, JSON-RPC's first for servers, for anything."""

CONTAINED = "hermesd"
"""Under this key of an error's data our HTTP client says what really happened; see ``http``."""


def plain(model: BaseModel) -> dict[str, Any]:  # JSON
    """What a server said, as JSON has it."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def client_info() -> Implementation:
    """How we introduce ourselves."""
    from mcp_types import Implementation

    return Implementation(name="hermesd", version=hermesd.__version__)


async def negotiate(session: ClientSession, era: str) -> None:
    """Agree on a protocol version. ``auto`` begins with the handshake, which every older server answers at once.

    The SDK's own order costs 10 s with a server that passes over methods it does not know.
    """
    from mcp.shared.exceptions import MCPError
    from mcp_types import METHOD_NOT_FOUND, UNSUPPORTED_PROTOCOL_VERSION

    if era == "modern":
        await session.discover()
        return
    try:
        await session.initialize()
    except MCPError as error:
        if era == "legacy" or error.code not in (METHOD_NOT_FOUND, UNSUPPORTED_PROTOCOL_VERSION):
            raise
        await session.discover()


async def list_tools(session: ClientSession) -> tuple[list[dict[str, Any]], list[str]]:
    """Every page of tools/list, and what of it cannot be used; nothing when the server does not offer tools.

    Where two tools have one name, the first counts: a call could not say which is meant.
    """
    tools: dict[str, dict[str, Any]] = {}
    faults = Faults()
    capabilities = session.server_capabilities
    if capabilities is None or capabilities.tools is None:
        return [], []
    cursor = None
    for _ in range(PAGES):
        page = await session.list_tools(params=page_of(cursor))
        faults.take({"_meta": page.meta})
        for number, tool in enumerate(page.tools, 1):
            if not tool.name or tool.name in tools:
                why = "another one before it has this name" if tool.name else "its name is empty"
                faults.add("the tool", {"name": tool.name}, why, number=number)
            else:
                tools[tool.name] = plain(tool)
        if not page.next_cursor or page.next_cursor == cursor:
            break
        cursor = page.next_cursor
    else:
        faults.note(f"its list of tools goes on after {PAGES} pages, which were not read")
    return list(tools.values()), faults.told()


class RefusedError(McpError):
    """The session is no more, or was never reached: the server did nothing, so the call may be sent once again."""


def meaning(error: MCPError, server: str, link: Link) -> McpError:
    """An error of the SDK in our words."""
    from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

    where = f"mcp/{server}"
    data = error.data
    said = shortened(error.message, MAX_ERROR)
    contained = data.get(CONTAINED) if isinstance(data, dict) else None
    if isinstance(contained, dict):
        kind: McpErrorKind = contained.get("kind", "down")
        sort = RefusedError if contained.get("refused") else McpError
        return sort(said, kind=kind, where=where, next_step=str(contained.get("next_step", "")))
    if error.code == CONNECTION_CLOSED and error.message.startswith(OF_THE_SDK):
        return broke_off(server, link, why="" if error.message == "Connection closed" else said)
    if error.code == REQUEST_TIMEOUT and "timed out" in error.message:
        return McpError("the server did not answer in time", kind="timeout", where=where)
    return McpError(f"the server answered: {said}", kind="tool", where=where)


def broke_off(server: str, link: Link, sort: type[McpError] = McpError, *, why: str = "") -> McpError:
    """For a call whose session or stream ended: by the server, or here (it was restarted, disabled, removed)."""
    who = (
        f"the server {link.why}"
        if link.why
        else f"the connection was closed ({why})"
        if why
        else "the connection was closed"
    )
    return sort(f"{who} while the call was under way", kind="down", where=f"mcp/{server}")


def page_of(cursor: str | None) -> PaginatedRequestParams | None:
    """The parameters of a list request."""
    from mcp_types import PaginatedRequestParams

    return PaginatedRequestParams(cursor=cursor) if cursor else None

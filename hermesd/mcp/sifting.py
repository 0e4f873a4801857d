"""Answers with lists: an entry that is not as the protocol says is left out and named, and the others are used.

The SDK refuses the whole answer for one such entry. So it is looked at first, by the SDK's own models (those of the
protocol version, and the one it reads them with), and what they complain of is taken out. Imported with the SDK.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import mcp_types as types
from mcp.shared.inbound import find_invalid_x_mcp_header
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher
from mcp.shared.transport_context import TransportContext
from mcp_types import methods
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from hermesd.mcp.faults import FAULTS, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcp.shared.dispatcher import CallOptions


class ListOf(NamedTuple):
    """A list in an answer: its key there, what an entry is, and the model that the SDK reads the answer with."""

    key: str
    what: str
    model: type[BaseModel]


LISTS = {
    "tools/list": ListOf("tools", "the tool", types.ListToolsResult),
    "resources/list": ListOf("resources", "the resource", types.ListResourcesResult),
    "resources/templates/list": ListOf("resourceTemplates", "the resource template", types.ListResourceTemplatesResult),
    "prompts/list": ListOf("prompts", "the prompt", types.ListPromptsResult),
}
"""By method (MCP, server/tools, server/resources, server/prompts)."""

MAX_COMPLAINTS = 2000
"""Of one answer, some milliseconds to look through; one with more is refused as a whole."""

Json = dict[str, Any]  # JSON of a server
Why = dict[int, str]  # an entry's place in its list → the reason


class SiftingDispatcher(JSONRPCDispatcher[TransportContext]):
    """The SDK's, whose answers to list requests are sifted. ``version``: what the session agreed on, once it has."""

    version: Callable[[], str | None] = staticmethod(lambda: None)

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        opts: CallOptions | None = None,
        **related: Any,  # noqa: ANN401 - what the SDK's own parts tell each other
    ) -> Json:
        """As the SDK's. Raises ValueError for a list with more complaints than are looked through."""
        answer = await super().send_raw_request(method, params, opts, **related)
        version = self.version() if method in LISTS else None
        return sifted(method, version, answer) if version else answer


def sifted(method: str, version: str, answer: Json) -> Json:
    """The answer with the entries that can be used; what was left out, and why, stands in its ``_meta`` (``faults``).

    What is wrong elsewhere in it is the SDK's to tell. Raises ValueError for more than MAX_COMPLAINTS.
    """
    of, meta = LISTS[method], answer.get("_meta")
    if isinstance(meta, dict):
        meta.pop(FAULTS, None)  # nobody says it but we
    entries = answer.get(of.key)
    if not isinstance(entries, list):
        return answer
    faults, numbers = Faults(), list(range(1, len(entries) + 1))
    for look in (_by_the_protocol, _by_the_sdk, _by_their_headers):
        why = look(method, version, {**answer, of.key: entries})
        for place, text in why.items():
            faults.add(of.what, entries[place], text, number=numbers[place])
        kept = [place for place in range(len(entries)) if place not in why]
        entries, numbers = [entries[place] for place in kept], [numbers[place] for place in kept]
    if len(entries) == len(answer[of.key]):
        return answer
    return {**answer, of.key: entries, "_meta": {**(meta if isinstance(meta, dict) else {}), FAULTS: faults.meta()}}


def _by_the_protocol(method: str, version: str, answer: Json) -> Why:
    """By the schema of the version that is spoken; nothing where it does not know the method."""
    try:
        methods.validate_server_result(method, version, answer)
    except ValidationError as error:
        return _reasons(error, LISTS[method].key)
    except KeyError:
        pass
    return {}


def _by_the_sdk(method: str, _version: str, answer: Json) -> Why:
    """By the model that the SDK makes its result of."""
    try:
        LISTS[method].model.model_validate(answer, by_name=False)
    except ValidationError as error:
        return _reasons(error, LISTS[method].key)
    return {}


def _by_their_headers(method: str, version: str, answer: Json) -> Why:
    """Tools that ask for HTTP header fields in a wrong way: the SDK drops them, as it must, and says nothing."""
    if method != "tools/list" or version not in MODERN_PROTOCOL_VERSIONS:
        return {}
    found = {place: find_invalid_x_mcp_header(each["inputSchema"]) for place, each in enumerate(answer["tools"])}
    return {place: text for place, text in found.items() if text is not None}


def _reasons(error: ValidationError, key: str) -> Why:
    """The first complaint of each entry of the list ``key``."""
    if error.error_count() > MAX_COMPLAINTS:
        raise ValueError(f"its list of {key} is wrong in {error.error_count()} places")
    found: Why = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        where = each["loc"]
        if where[:1] == (key,) and len(where) > 1 and isinstance(where[1], int):
            path = ".".join(str(part)[:40] for part in where[2:6])
            found.setdefault(where[1], f"{path}: {each['msg']}" if path else each["msg"])
    return found

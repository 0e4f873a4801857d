"""Where the tools get their answers: RPC methods, by the socket or within the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp.server.context import ServerRequestContext
    from mcp_types import RequestParams

Json = dict[str, Any]  # a JSON object, by nature of any shape

METHODS = frozenset(
    {
        "chat.send",
        "cron.list",
        "cron.runs",
        "cron.show",
        "daemon.status",
        "gateway.list",
        "inbox.list",
        "outbox.list",
        "profile.list",
        "sessions.list",
        "sessions.search",
        "sessions.show",
    }
)
"""All that is ever called on behalf of another agent, whoever it is. Nothing here stops, changes or approves."""


class Backend(Protocol):
    """Calls RPC methods (hermesd.rpc.wire), those of METHODS only."""

    async def call(self, method: str, params: Mapping[str, object]) -> Json:
        """One request, its result as plain data; a stream's updates are left out. Raises HermesError."""


class Call(msgspec.Struct, frozen=True):
    """What a handler is given beside its arguments. ``profile`` is meant where none is named ('' is the current one).

    ``request`` is the SDK's own context of the request: progress, log messages, questions to the client. ``params``
    are its parameters, with the answers to such questions where they come with a repeat of it (2026-07-28).
    """

    backend: Backend
    profile: str
    request: ServerRequestContext[Any, Any]  # the SDK's type parameters: lifespan state and transport request
    params: RequestParams | None = None

"""Room for new sessions: where as many are open as may be, the one that has rested longest gives its place.

An ASGI application around the SDK's session manager, which would refuse every new client until half an hour has passed
over one of the sessions that nobody gave back. A session with a request under way (a call, or a stream of events) is
never ended. Who comes back to one that was is answered 404 and starts a new one (MCP 2025-11-25, basic/transports,
Session Management).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from hermesd.serving.guard import Refusal, answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermesd.serving.guard import App, Message, Receive, Scope, Send

SESSION = b"mcp-session-id"
VERSION = b"mcp-protocol-version"
END_S = 5.0
RETRY_S = 30
"""What a client is told to wait when no session rests."""

TOLD_EVERY_S = 60.0
"""A client that gives back none of its many sessions must not fill the log."""

log = logging.getLogger("hermesd.serving")


class _Session:
    """An open one. A request with no end yet is under way."""

    def __init__(self) -> None:
        self.under_way = 0
        self.rests_since = 0.0


class Sessions:
    """``app`` is the session manager's, which holds ``most`` sessions."""

    def __init__(self, app: App, most: int) -> None:
        self._app = app
        self._most = most
        self._open: dict[bytes, _Session] = {}
        self._opening = 0
        self._ended, self._told_at = 0, -TOLD_EVERY_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        name = _value(scope["headers"], SESSION)
        if name is not None:
            await self._go_on(name, scope, receive, send)
        elif scope["method"] == "POST" and _has_sessions(scope):
            await self._begin(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request that opens a session, if it is a right one."""
        session, is_open = _Session(), False
        self._opening += 1
        try:
            if not await self._make_room(scope):
                text = f"all {self._most} sessions are in use; try again later"
                await answer(send, Refusal(503, text, ((b"retry-after", b"%d" % RETRY_S),)))
                return

            async def noting(message: Message) -> None:
                nonlocal is_open
                if message["type"] == "http.response.start" and message["status"] < 400:
                    name = _value(message.get("headers", ()), SESSION)
                    if name is not None:
                        is_open, self._open[name] = True, session
                        self._opening -= 1
                        session.under_way += 1
                await send(message)

            await self._app(scope, receive, noting)
        finally:
            if is_open:
                _rest(session)
            else:
                self._opening -= 1

    async def _go_on(self, name: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        session = self._open.get(name)
        if session is None:
            await self._app(scope, receive, send)
            return

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                is_gone = message["status"] == 404 or (scope["method"] == "DELETE" and message["status"] < 400)
                if is_gone:
                    self._open.pop(name, None)
            await send(message)

        session.under_way += 1
        try:
            await self._app(scope, receive, noting)
        finally:
            _rest(session)

    async def _make_room(self, scope: Scope) -> bool:
        """Whether one more session may be open, having ended others for it."""
        while len(self._open) + self._opening > self._most:
            resting = [name for name, session in self._open.items() if not session.under_way]
            if not resting:
                return False
            name = min(resting, key=lambda each: self._open[each].rests_since)
            del self._open[name]
            self._tell()
            await self._end(name, scope)
        return True

    async def _end(self, name: bytes, scope: Scope) -> None:
        """As its client would, with a DELETE; one that has ended by itself is answered 404, which is as good."""

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_message: Message) -> None:
            pass

        with trio.move_on_after(END_S, shield=True):
            await self._app({**scope, "method": "DELETE", "headers": [(SESSION, name)]}, receive, send)

    def _tell(self) -> None:
        self._ended += 1
        now = trio.current_time()
        if now - self._told_at >= TOLD_EVERY_S:
            log.info("%d sessions that rested were ended to make room for new ones", self._ended)
            self._ended, self._told_at = 0, now


def _rest(session: _Session) -> None:
    session.under_way -= 1
    session.rests_since = trio.current_time()


def _has_sessions(scope: Scope) -> bool:
    """Whether the request is of a revision with sessions: the SDK takes one without a version for such a one too."""
    from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

    version = _value(scope["headers"], VERSION)
    return version is None or version.decode("latin-1") in HANDSHAKE_PROTOCOL_VERSIONS


def _value(fields: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    return next((value for name, value in fields if name.lower() == wanted), None)

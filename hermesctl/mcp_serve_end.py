"""The end of the input of ``hermesctl mcp serve``: what was asked before it is answered first.

The SDK cancels every request under way when its input ends, so that a client which writes its requests and closes the
pipe would hear nothing. MCP 2025-11-25, basic/lifecycle, "Shutdown": a client that wants the server gone and does not
see it go sends SIGTERM, which ends it at once.

Nor does the SDK answer a line that is no message; whoever sent it would wait for ever (JSON-RPC 2.0, section 5.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from contextvars import Context

    from mcp.shared._stream_protocols import ReadStream, WriteStream
    from mcp.shared.message import SessionMessage

ANSWERS_S = 30.0
"""After the end of the input requests are answered for so long."""


class Unanswered:
    """The requests that were read and have no answer yet. A server is run with ``reading`` and ``writing``."""

    def __init__(self, received: ReadStream[SessionMessage | Exception], sent: WriteStream[SessionMessage]) -> None:
        self._ids: set[str | int] = set()
        self._answered = trio.Event()
        self.reading: ReadStream[SessionMessage | Exception] = _Reading(received, self)
        self.writing: WriteStream[SessionMessage] = _Writing(sent, self)

    def note_read(self, item: SessionMessage | Exception) -> None:
        """A request is open from now on; one that its client gives up is not, for it may get no answer."""
        from mcp_types import JSONRPCNotification, JSONRPCRequest

        message = None if isinstance(item, Exception) else item.message
        if isinstance(message, JSONRPCRequest):
            self._ids.add(message.id)
        elif isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
            self._settle((message.params or {}).get("requestId"))

    def note_written(self, item: SessionMessage) -> None:
        """An answer has gone out."""
        from mcp_types import JSONRPCError, JSONRPCResponse

        if isinstance(item.message, JSONRPCResponse | JSONRPCError):
            self._settle(item.message.id)

    async def refuse(self, error: Exception) -> None:
        """Answer a line that could not be read; a blank one asks for nothing."""
        from mcp.shared.message import SessionMessage
        from mcp_types import INVALID_REQUEST, PARSE_ERROR, ErrorData, JSONRPCError
        from pydantic import ValidationError

        found = error.errors()[0] if isinstance(error, ValidationError) else None
        if found is not None and isinstance(found["input"], str) and not found["input"].strip():
            return
        is_json = found is not None and found["type"] != "json_invalid"
        code, text = (INVALID_REQUEST, "it is no message") if is_json else (PARSE_ERROR, "the line is no JSON in UTF-8")
        told = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=code, message=text))
        await self.writing.send(SessionMessage(message=told))

    def _settle(self, number: object) -> None:
        self._ids = {each for each in self._ids if each != number}
        if not self._ids:
            self._answered.set()

    async def wait(self) -> None:
        """Return when nothing is open, or after ANSWERS_S."""
        with trio.move_on_after(ANSWERS_S):
            while self._ids:
                self._answered = trio.Event()
                await self._answered.wait()


class _Around:
    """One of the SDK's streams, entered and left as it is."""

    def __init__(self, inner: Any, requests: Unanswered) -> None:  # noqa: ANN401 - either of two protocols of the SDK's
        self._inner = inner
        self._requests = requests

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Any:  # noqa: ANN401 - itself, as its protocol says
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Reading(_Around):
    @property
    def last_context(self) -> Context | None:
        """Of the last message; the SDK looks for it."""
        found: Context | None = getattr(self._inner, "last_context", None)
        return found

    async def receive(self) -> SessionMessage | Exception:
        import anyio

        try:
            item: SessionMessage | Exception = await self._inner.receive()
        except anyio.EndOfStream:
            await self._requests.wait()
            raise
        if isinstance(item, Exception):
            await self._requests.refuse(item)
        self._requests.note_read(item)
        return item

    def __aiter__(self) -> _Reading:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        import anyio

        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class _Writing(_Around):
    async def send(self, item: SessionMessage, /) -> None:
        await self._inner.send(item)
        self._requests.note_written(item)

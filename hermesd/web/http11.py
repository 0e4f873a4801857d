"""One HTTP/1.1 connection: reads, asks the handler, answers; ``head`` parses, this file bounds and refuses."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.web.head import Head, RefusedError
from hermesd.web.message import BodyTooLargeError, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.web.head import ChunkedBody

    Handler = Callable[[Request], Awaitable[Response]]

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_LINGER_S = 1.0
_LINGER_BYTES = 4 * 1024 * 1024
_REASONS = {
    200: b"OK", 202: b"Accepted", 204: b"No Content", 400: b"Bad Request", 401: b"Unauthorized", 403: b"Forbidden",
    404: b"Not Found", 405: b"Method Not Allowed", 408: b"Request Timeout", 413: b"Content Too Large",
    429: b"Too Many Requests", 431: b"Request Header Fields Too Large", 500: b"Internal Server Error",
    503: b"Service Unavailable",
}  # fmt: skip


class Limits(msgspec.Struct, frozen=True):
    """Seconds and bytes. They hold before anybody is authenticated."""

    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 60.0
    write_s: float = 30.0
    head_bytes: int = 16 * 1024
    fields: int = 100
    requests: int = 10_000


class Connection:
    """Serves the requests of one stream, one after the other, until either side ends it.

    ``on_idle`` is called with True when the connection waits for a request and with False when one has begun, so
    that the listener knows what it may close.
    """

    def __init__(
        self, stream: trio.abc.Stream, handler: Handler, limits: Limits, *, on_idle: Callable[[bool], None]
    ) -> None:
        self._stream = stream
        self._handler = handler
        self._limits = limits
        self._on_idle = on_idle
        self._buffer = bytearray()
        self._ended = False
        self._closing = False
        # One scope whose deadline moves: cheaper than one for each phase of each request.
        self._scope = trio.CancelScope()
        self._late = ""

    def close_after_this(self) -> None:
        """Let the request under way, if any, be the last one."""
        self._closing = True

    async def serve(self) -> None:
        """Return when the connection is over, whoever ended it; the stream is left to the caller to close."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # the client's affair
            with self._scope:
                for _ in range(self._limits.requests):
                    if not await self._serve_one():
                        break
            if self._scope.cancelled_caught and self._late:
                with trio.move_on_after(self._limits.write_s):
                    await self._refuse(RefusedError(408, self._late))

    def _allow(self, seconds: float, late: str = "") -> None:
        """End the connection unless this is called again within ``seconds``; ``late`` is then said to the client."""
        self._late = late
        self._scope.deadline = trio.current_time() + seconds

    async def _serve_one(self) -> bool:
        """Serve one request; False when the connection is over."""
        try:
            exchange = await self._read_head()
            if exchange is None:
                return False
            response = await self._answer(exchange)
        except RefusedError as error:
            self._allow(self._limits.write_s)
            await self._refuse(error)
            return False
        return await self._finish(exchange, response)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _read_head(self) -> _Exchange | None:
        if not self._buffer:
            self._allow(self._limits.idle_s)
            self._on_idle(True)
            here = await self._more()
            self._on_idle(False)
            if not here:
                return None
        end = await self._head_end()
        self._allow(math.inf)
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return self._exchange(Head(head, max_fields=self._limits.fields))

    async def _head_end(self) -> int:
        searched, waited = 0, False
        while (found := self._buffer.find(b"\r\n\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 3)
            if len(self._buffer) > self._limits.head_bytes:
                raise RefusedError(431, "the head is too large")
            if b"\n\n" in self._buffer or self._buffer.startswith((b"\n", b"\r")):
                raise RefusedError(400, "a bare line feed")
            if not waited:
                self._allow(self._limits.head_s, "the head did not arrive in time")
                waited = True
            if not await self._more():
                raise RefusedError(400, "the head is incomplete")
        if found > self._limits.head_bytes:
            raise RefusedError(431, "the head is too large")
        return found + 4

    async def _more(self) -> bool:
        data = b"" if self._ended else await self._stream.receive_some(_CHUNK)
        self._ended = not data
        self._buffer += data
        return bool(data)

    def _exchange(self, head: Head) -> _Exchange:
        path, _, query = head.target.partition("?")
        exchange = _Exchange(
            head=head,
            whole=head.body is None and not head.length,
            waits=head.headers.get("expect").lower() == "100-continue",
            close=head.close,
        )
        read = functools.partial(self._read_body, exchange)
        exchange.request = Request(head.method, path, query, head.headers, read)
        return exchange

    async def _read_body(self, exchange: _Exchange, max_bytes: int) -> bytes:
        if exchange.whole:
            return b""
        head = exchange.head
        if head.length > max_bytes:
            raise BodyTooLargeError
        if exchange.waits and not self._buffer:
            self._allow(self._limits.body_s)
            await self._stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.waits = False
        if head.body or len(self._buffer) < head.length:
            self._allow(self._limits.body_s, "the body did not arrive in time")
            body = await (self._read_chunks(exchange, head.body, max_bytes) if head.body else self._read(head.length))
            self._allow(math.inf)
        else:
            body = self._take(head.length)
        exchange.whole = True
        return body

    async def _read_chunks(self, exchange: _Exchange, body: ChunkedBody, max_bytes: int) -> bytes:
        while not body.complete:
            if not self._buffer:
                await self._more_of_body()
            body.feed(bytes(self._buffer))
            self._buffer.clear()
            if len(body.data) > max_bytes:
                raise BodyTooLargeError
        # The parser does not say where the body ended: of a request that was sent behind it, nothing can be answered.
        exchange.close |= body.ate_more
        return bytes(body.data)

    async def _read(self, length: int) -> bytes:
        while len(self._buffer) < length:
            await self._more_of_body()
        return self._take(length)

    def _take(self, length: int) -> bytes:
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    async def _more_of_body(self) -> None:
        if not await self._more():
            raise RefusedError(400, "the body is incomplete")

    # -- answering -----------------------------------------------------------------------------------------------------

    async def _answer(self, exchange: _Exchange) -> Response:
        try:
            return await self._handler(exchange.request)
        except BodyTooLargeError:
            return json_response(413, error="the body is too large")
        except (RefusedError, trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception:  # a bug in one handler must be seen in the log, and end neither the listener nor its peers
            logger.exception("the handler of %s %s failed", exchange.request.method, exchange.request.path)
            return json_response(500, error="internal error")

    async def _finish(self, exchange: _Exchange, response: Response) -> bool:
        """Send the answer; True when the connection can serve another request."""
        self._allow(self._limits.write_s)
        self._skip_body(exchange)
        close = exchange.close or response.close or self._closing or self._ended or not exchange.whole
        await self._send(response, close=close, with_body=exchange.request.method != "HEAD")
        if not exchange.whole:
            await self._linger()
        return not close

    def _skip_body(self, exchange: _Exchange) -> None:
        """Pass over a body that nobody asked for, if all of it is here; a chunked one ends the connection."""
        length = exchange.head.length
        if exchange.head.body is None and not exchange.waits and len(self._buffer) >= length and not exchange.whole:
            del self._buffer[:length]
            exchange.whole = True

    async def _refuse(self, error: RefusedError) -> None:
        await self._send(json_response(error.status, error=error.reason), close=True, with_body=True)
        await self._linger()

    async def _linger(self) -> None:
        """Read on for a moment after an early answer, or the reset would destroy it before it is read."""
        left = _LINGER_BYTES
        with trio.move_on_after(_LINGER_S), contextlib.suppress(trio.BrokenResourceError):
            if isinstance(self._stream, trio.SocketStream):
                await self._stream.send_eof()
            while left > 0 and (data := await self._stream.receive_some(_CHUNK)):
                left -= len(data)

    async def _send(self, response: Response, *, close: bool, with_body: bool) -> None:
        head = [
            _status_line(response.status),
            b"date: ",
            _date(),
            f"\r\ncontent-type: {response.content_type}\r\ncontent-length: {len(response.body)}\r\n".encode("ascii"),
        ]
        for name, value in response.headers.items():
            if "\r" in value or "\n" in value:
                raise ValueError(f"a line break in the field {name}")
            head.append(f"{name}: {value}\r\n".encode("latin-1"))
        head.append(b"connection: close\r\n\r\n" if close else b"\r\n")
        if with_body:
            head.append(response.body)
        await self._stream.send_all(b"".join(head))


@dataclass(slots=True)
class _Exchange:
    """A request whose head is read. ``whole``: nothing of its body is left on the stream; ``waits``: for a 100."""

    head: Head
    whole: bool
    waits: bool
    close: bool
    request: Request = field(init=False)


@functools.cache
def _status_line(status: int) -> bytes:
    return b"HTTP/1.1 %d %s\r\n" % (status, _REASONS.get(status, b""))


_dated: tuple[int, bytes] = (0, b"")


def _date() -> bytes:
    """The Date field's value, made once a second."""
    global _dated  # noqa: PLW0603 - a cache of one value that every connection shares
    now = int(time.time())
    if _dated[0] != now:
        _dated = (now, formatdate(now, usegmt=True).encode("ascii"))
    return _dated[1]

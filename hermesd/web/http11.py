"""One HTTP/1.1 connection: h11 parses, this file bounds and refuses.

Stricter than RFC 9112 asks: a bare LF, a folded field, Transfer-Encoding beside Content-Length, or any transfer coding
but ``chunked`` is answered 400 and the connection closed, because proxies disagree about what they mean
(request smuggling, RFC 9112 section 11.2). The head is checked as raw bytes before h11, which is more lenient, sees it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import math
import re
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING

import h11
import msgspec
import trio

from hermesd.web.message import BodyTooLargeError, Headers, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[Request], Awaitable[Response]]

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_LINGER_S = 1.0
_LINGER_BYTES = 4 * 1024 * 1024
_BARE_LF = re.compile(rb"(?<!\r)\n")
_FOLDED = re.compile(rb"\r\n[ \t]")
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


class _RefusedError(Exception):
    """The request cannot be taken: answer ``status`` and close."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


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
                    await self._refuse(_RefusedError(408, self._late))

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
        except (_RefusedError, h11.RemoteProtocolError) as error:
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
        self._allow(self._limits.head_s, "the head did not arrive in time")
        end = await self._head_end()
        self._allow(math.inf)
        head = bytes(self._buffer[:end])
        del self._buffer[:end]
        return self._exchange(_parse_head(head, self._limits))

    async def _head_end(self) -> int:
        searched = 0
        while (found := self._buffer.find(b"\r\n\r\n", searched)) < 0:
            searched = max(0, len(self._buffer) - 3)
            if len(self._buffer) > self._limits.head_bytes:
                raise _RefusedError(431, "the head is too large")
            if b"\n\n" in self._buffer or self._buffer.startswith((b"\n", b"\r")):
                raise _RefusedError(400, "a bare line feed")
            if not await self._more():
                raise _RefusedError(400, "the head is incomplete")
        return found + 4

    async def _more(self) -> bool:
        data = b"" if self._ended else await self._stream.receive_some(_CHUNK)
        self._ended = not data
        self._buffer += data
        return bool(data)

    def _exchange(self, parsed: tuple[h11.Connection, h11.Request]) -> _Exchange:
        http, event = parsed
        headers = Headers((name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers)
        chunked = "transfer-encoding" in headers
        if chunked and "content-length" in headers:
            raise _RefusedError(400, "both Content-Length and Transfer-Encoding")
        path, _, query = event.target.decode("latin-1").partition("?")
        options = headers.get("connection").lower()
        exchange = _Exchange(
            http=http if chunked else None,
            length=int(headers.get("content-length") or 0),
            whole=not chunked and headers.get("content-length") in {"", "0"},
            waits=headers.get("expect").lower() == "100-continue",
            close=event.http_version != b"1.1" or "close" in options,
        )
        method = event.method.decode("ascii")
        exchange.request = Request(method, path, query, headers, lambda limit: self._read_body(exchange, limit))
        return exchange

    async def _read_body(self, exchange: _Exchange, max_bytes: int) -> bytes:
        if exchange.whole:
            return b""
        if exchange.length > max_bytes:
            raise BodyTooLargeError
        self._allow(self._limits.body_s, "the body did not arrive in time")
        if exchange.waits and not self._buffer:
            await self._stream.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
        exchange.waits = False
        if exchange.http:
            body = await self._read_chunks(exchange.http, max_bytes)
        else:
            while len(self._buffer) < exchange.length:
                await self._more_of_body()
            body = bytes(self._buffer[: exchange.length])
            del self._buffer[: exchange.length]
        self._allow(math.inf)
        exchange.whole = True
        return body

    async def _read_chunks(self, http: h11.Connection, max_bytes: int) -> bytes:
        body = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                if not self._buffer:
                    await self._more_of_body()
                http.receive_data(bytes(self._buffer))
                self._buffer.clear()
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > max_bytes:
                    raise BodyTooLargeError
            else:  # EndOfMessage; what h11 still holds is the next request
                self._buffer[:0] = http.trailing_data[0]
                return bytes(body)

    async def _more_of_body(self) -> None:
        if not await self._more():
            raise _RefusedError(400, "the body is incomplete")

    # -- answering -----------------------------------------------------------------------------------------------------

    async def _answer(self, exchange: _Exchange) -> Response:
        try:
            return await self._handler(exchange.request)
        except BodyTooLargeError:
            return json_response(413, error="the body is too large")
        except (_RefusedError, h11.RemoteProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
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
        if exchange.http is None and not exchange.waits and len(self._buffer) >= exchange.length and not exchange.whole:
            del self._buffer[: exchange.length]
            exchange.whole = True

    async def _refuse(self, error: _RefusedError | h11.RemoteProtocolError) -> None:
        status = error.status if isinstance(error, _RefusedError) else 400
        await self._send(json_response(status, error=str(error)), close=True, with_body=True)
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

    http: h11.Connection | None  # set for a chunked body, which it decodes
    length: int
    whole: bool
    waits: bool
    close: bool
    request: Request = field(init=False)


def _parse_head(head: bytes, limits: Limits) -> tuple[h11.Connection, h11.Request]:
    """A connection of h11's for this request alone, so that none of its leniency outlives our checks."""
    _check_head(head, limits)
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)
    http.receive_data(head)
    event = http.next_event()
    if not isinstance(event, h11.Request):
        raise _RefusedError(400, "not a request")
    if event.http_version not in {b"1.1", b"1.0"}:
        raise _RefusedError(400, "not HTTP/1")
    return http, event


def _check_head(head: bytes, limits: Limits) -> None:
    if head.count(b"\r\n") > limits.fields + 2:
        raise _RefusedError(431, "too many fields")
    if head.count(b"\n") != head.count(b"\r\n") or _FOLDED.search(head):
        raise _RefusedError(400, "a bare line feed or a folded field")


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

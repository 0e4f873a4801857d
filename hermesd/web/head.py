"""A request's head and a chunked body: llhttp parses (httptools), this file refuses what llhttp still takes.

Stricter than RFC 9112 asks: a bare LF, a folded field, Transfer-Encoding beside Content-Length, or any transfer coding
but ``chunked`` is refused, because proxies disagree about what they mean (request smuggling, RFC 9112 section 11.2).
"""

from __future__ import annotations

import re

import httptools

from hermesd.web.message import Headers

MAX_FRAMING = 64 * 1024
"""Bytes by which the framing of a chunked body (sizes, extensions, trailers) may outweigh what it frames."""

_FOLDED = re.compile(rb"\r\n[ \t]")
_VERSIONS = (b" HTTP/1.1", b" HTTP/1.0")


class RefusedError(Exception):
    """The request cannot be taken: answer ``status`` and close."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Head:
    """``length`` is of the body, 0 when it is chunked; then ``body`` decodes it. ``close``: the client wants that."""

    __slots__ = ("body", "close", "headers", "length", "method", "target")

    def __init__(self, data: bytes, *, max_fields: int) -> None:
        """``data`` ends with the empty line. Raises RefusedError."""
        first = data.partition(b"\r\n")[0]
        if data.count(b"\r\n") > max_fields + 2:
            raise RefusedError(431, "too many fields")
        if data.count(b"\n") != data.count(b"\r\n") or _FOLDED.search(data):
            raise RefusedError(400, "a bare line feed or a folded field")
        if not first.endswith(_VERSIONS):
            raise RefusedError(400, "not a request of HTTP 1.1 or 1.0")
        read = _Fields()
        parser = httptools.HttpRequestParser(read)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nobody here changes the protocol: RFC 9110 section 7.8 lets a server ignore the wish
        except httptools.HttpParserError as error:
            raise RefusedError(400, f"not a request: {error}") from None
        self.method = parser.get_method().decode("ascii")
        self.target = read.target
        self.headers = headers = Headers(read.fields)
        old = first.endswith(b".0")
        self.body = ChunkedBody() if _is_chunked(headers, old=old) else None
        self.length = int(headers.get("content-length") or 0)
        self.close = old or "close" in headers.get("connection").lower()
        if (not old and "host" not in headers) or headers.repeated("host"):
            raise RefusedError(400, "not exactly one Host")  # RFC 9112 section 3.2


class _Fields:
    """What httptools calls while it reads a head."""

    __slots__ = ("fields", "target")

    def __init__(self) -> None:
        self.target = ""
        self.fields: list[tuple[str, str]] = []

    def on_url(self, url: bytes) -> None:
        self.target += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.decode("ascii"), value.decode("latin-1").strip(" \t")))


class ChunkedBody:
    """Decodes a chunked body (RFC 9112 section 7.1). Its parser is told of no head but a plain one.

    ``data`` is what has been decoded; trailers are read past. ``complete``: the last chunk has been read. ``ate_more``:
    bytes of another request were fed with the end of this one; they are lost.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.complete = False
        self.ate_more = False
        self._fed = 0
        self._parser = httptools.HttpRequestParser(self)
        self._parser.feed_data(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")

    def feed(self, data: bytes) -> None:
        """Raises RefusedError for what is not chunked coding, or hardly anything but its framing."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self.complete:  # what follows the body is not its fault
                raise RefusedError(400, f"not a chunked body: {error}") from None
        self._fed += len(data)
        if not self.complete and self._fed > 2 * len(self.data) + MAX_FRAMING:
            raise RefusedError(400, "a chunked body of hardly anything but framing")

    # -- what httptools calls ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A first byte of this body's head, or of what is behind it."""
        self.ate_more = self.complete

    def on_body(self, data: bytes) -> None:
        """A piece of a chunk."""
        if not self.complete:
            self.data += data

    def on_message_complete(self) -> None:
        """The last chunk and its trailers."""
        self.complete = True


def _is_chunked(headers: Headers, *, old: bool) -> bool:
    if "transfer-encoding" not in headers:
        return False
    if "content-length" in headers:
        raise RefusedError(400, "both Content-Length and Transfer-Encoding")
    if old or headers.repeated("transfer-encoding") or headers.get("transfer-encoding").lower() != "chunked":
        raise RefusedError(400, "a transfer coding other than chunked")
    return True

"""An HTTP request as handlers see it, and their answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping


class Headers:
    """Header fields by lower-case name, as text (ISO 8859-1, RFC 9110 section 5.5)."""

    __slots__ = ("_first", "_repeated")

    def __init__(self, fields: Iterable[tuple[str, str]]) -> None:
        self._first: dict[str, str] = {}
        self._repeated: set[str] = set()
        for name, value in fields:
            if self._first.setdefault(name.lower(), value) is not value:
                self._repeated.add(name.lower())

    def get(self, name: str) -> str:
        """The field's first value, or ''."""
        return self._first.get(name, "")

    def __contains__(self, name: str) -> bool:
        return name in self._first

    def repeated(self, name: str) -> bool:
        """True when the field was given more than once: never acceptable for a signature."""
        return name in self._repeated


class BodyTooLargeError(Exception):
    """The body is longer than the handler's limit; raised by ``Request.body``."""


class Request(msgspec.Struct):
    """``path`` is the target without its query. The body is read only when a handler asks for it."""

    method: str
    path: str
    query: str
    headers: Headers
    read_body: Callable[[int], Awaitable[bytes]]

    async def body(self, *, max_bytes: int) -> bytes:
        """The whole body; raises BodyTooLargeError before more than ``max_bytes`` are held."""
        return await self.read_body(max_bytes)


class Response(msgspec.Struct, frozen=True):
    """An answer; ``close`` ends the connection after it."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    close: bool = False


def json_response(code: int, *, headers: Mapping[str, str] | None = None, **body: object) -> Response:
    """A JSON object as an answer."""
    return Response(code, msgspec.json.encode(body), headers=headers or {})

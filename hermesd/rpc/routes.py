"""Method name → handler, decoders and required rank: made once, at import of the methods.

Handlers come in three kinds. ``fast`` ones are plain functions, answered on the connection's own task in the batch
their request came in. ``slow`` ones are async and get a task each. ``stream`` ones also get a Stream.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

import msgspec

from hermesd.rpc.codec import JSON
from hermesd.rpc.peer import RANK
from hermesd.rpc.wire import Params
from hermesd.rpc.wire_methods import METHODS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.rpc.calls import Caller, Stream
    from hermesd.rpc.codec import Encoding
    from hermesd.rpc.wire_methods import Method

P = TypeVar("P", bound=Params)
P_contra = TypeVar("P_contra", bound=Params, contravariant=True)
Kind = Literal["fast", "slow", "stream"]


class StreamHandler(Protocol[P_contra]):
    """A handler that sends updates before its result."""

    def __call__(self, caller: Caller, params: P_contra, stream: Stream, /) -> Awaitable[msgspec.Struct]:
        """Return the result; raise HermesError."""


class Route(msgspec.Struct, frozen=True):
    """A method, ready to be called."""

    method: Method
    kind: Kind
    handler: Callable[..., Any]  # its parameters differ by method; ``decode_*`` makes the matching ones
    rank: int
    decode_json: Callable[[bytes | msgspec.Raw], Params]
    decode_msgpack: Callable[[bytes | msgspec.Raw], Params]

    def params(self, raw: msgspec.Raw, encoding: Encoding) -> Params:
        """Decode the parameters. Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError."""
        decode = self.decode_json if encoding is JSON else self.decode_msgpack
        return decode(raw if memoryview(raw) else encoding.empty)


_BY_NAME = {method.name: method for method in METHODS}
ROUTES: dict[str, Route] = {}


def _register(name: str, kind: Kind, handler: Callable[..., Any]) -> None:  # any handler's signature
    method = _BY_NAME[name]
    ROUTES[name] = Route(
        method,
        kind,
        handler,
        RANK[method.role],
        msgspec.json.Decoder(method.params).decode,
        msgspec.msgpack.Decoder(method.params).decode,
    )


def fast(
    name: str,
) -> Callable[[Callable[[Caller, P], msgspec.Struct]], Callable[[Caller, P], msgspec.Struct]]:
    """Register a handler that answers at once, without waiting for anything."""

    def register(handler: Callable[[Caller, P], msgspec.Struct]) -> Callable[[Caller, P], msgspec.Struct]:
        _register(name, "fast", handler)
        return handler

    return register


def slow(
    name: str,
) -> Callable[[Callable[[Caller, P], Awaitable[msgspec.Struct]]], Callable[[Caller, P], Awaitable[msgspec.Struct]]]:
    """Register a handler that waits: for the store, a service, a file."""

    def register(
        handler: Callable[[Caller, P], Awaitable[msgspec.Struct]],
    ) -> Callable[[Caller, P], Awaitable[msgspec.Struct]]:
        _register(name, "slow", handler)
        return handler

    return register


def stream(name: str) -> Callable[[StreamHandler[P]], StreamHandler[P]]:
    """Register a handler that sends updates."""

    def register(handler: StreamHandler[P]) -> StreamHandler[P]:
        _register(name, "stream", handler)
        return handler

    return register

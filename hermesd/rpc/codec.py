"""Frames: an incremental decoder for both encodings, and the encoders of what goes back.

The first byte of a connection chooses (see ``rpc.wire``). A frame error ends the connection, because what follows a
broken frame cannot be trusted to begin where a frame begins; everything that came whole before it is still answered.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from hermesd.errors import HermesError
from hermesd.rpc.wire import INVALID_REQUEST, MAX_DEPTH, MAX_FRAME_BYTES, MAX_METHOD_BYTES, PARSE_ERROR

LENGTH_BYTES = 4
DEPTH_SCAN_BYTES = 64 * 1024
"""How much of a refused frame is looked at to tell "too deep" from "wrong type"; it is refused either way."""

_MSGPACK_ARRAYS = frozenset({*range(0x90, 0xA0), 0xDC, 0xDD})
_JSON_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)

RequestId = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)] | Annotated[str, msgspec.Meta(max_length=128)]


class Request(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """A request as it comes; ``params`` stay undecoded until the method and the caller's role are known."""

    jsonrpc: Literal["2.0"]
    method: Annotated[str, msgspec.Meta(max_length=MAX_METHOD_BYTES)]
    id: RequestId
    params: msgspec.Raw = msgspec.Raw(b"")


class Message(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of what is sent: the field order below is the order on the wire."""

    jsonrpc: Literal["2.0"] = "2.0"


class Answer(Message, frozen=True, kw_only=True, gc=False):
    """A result. It stands last: a client without a parser finds it there."""

    id: int | str
    result: Any  # one of the wire's result types


class Notification(Message, frozen=True, kw_only=True, gc=False):
    """One update of a stream; its params carry the request's id."""

    method: str
    params: Any  # one of the wire's update types


class ErrorData(msgspec.Struct, frozen=True, gc=False):
    """The rest of a HermesError, so that a client can show it as if it were its own."""

    where: str
    next_step: str
    exit_status: int


class ErrorObject(msgspec.Struct, frozen=True, gc=False):
    """JSON-RPC 2.0, section 5.1."""

    code: int
    message: str
    data: ErrorData


class Failure(Message, frozen=True, kw_only=True, gc=False):
    """An error; ``id`` is null when the request's could not be read."""

    id: int | str | None
    error: ErrorObject


class FrameError(HermesError):
    """A frame that cannot be read: the connection is closed after the answer. ``rpc_code`` is -32700 or -32600."""

    exit_status = 2

    def __init__(self, code: int, what: str, *, next_step: str = "see docs/rpc.md for what a frame is") -> None:
        super().__init__(what, where="frame", next_step=next_step)
        self.rpc_code = code


def failure(request_id: int | str | None, error: HermesError) -> Failure:
    """The error object of a HermesError."""
    data = ErrorData(error.where, error.next_step, error.exit_status)
    return Failure(id=request_id, error=ErrorObject(error.rpc_code, error.what, data))


class Encoding(msgspec.Struct, frozen=True):
    """One of the two encodings. ``frame`` encodes a message and puts its newline or length to it."""

    name: Literal["json", "msgpack"]
    decode: Callable[[bytes], Request]
    frame: Callable[[object], bytes]
    empty: bytes
    is_batch: Callable[[bytes], bool]
    too_deep: Callable[[bytes], bool]

    def request(self, frame: bytes) -> Request:
        """Decode a frame's envelope; raises FrameError and nothing else."""
        try:
            return self.decode(frame)
        except msgspec.ValidationError as error:
            if self.is_batch(frame):
                raise FrameError(
                    INVALID_REQUEST, "batches are not supported", next_step="send one request after another"
                ) from error
            raise FrameError(INVALID_REQUEST, f"not a request: {error}") from error
        except RecursionError as error:
            raise FrameError(INVALID_REQUEST, f"nested deeper than {MAX_DEPTH}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FrameError(PARSE_ERROR, f"not {self.name}: {error}") from error


_encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode


def _json_frame(message: object) -> bytes:
    return _encode_json(message) + b"\n"


def _msgpack_frame(message: object) -> bytes:
    payload = _encode_msgpack(message)
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


def _json_is_batch(frame: bytes) -> bool:
    return frame.lstrip()[:1] == b"["


def _msgpack_is_batch(frame: bytes) -> bool:
    return frame[:1] != b"" and frame[0] in _MSGPACK_ARRAYS


def _json_too_deep(data: bytes) -> bool:
    """Whether the beginning of a JSON value is nested deeper than MAX_DEPTH."""
    depth = 0
    for token in _JSON_TOKEN.finditer(data, 0, DEPTH_SCAN_BYTES):
        first = token[0][:1]
        if first in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif first in b"]}":
            depth -= 1
    return False


def _msgpack_too_deep(data: bytes) -> bool:
    """Whether a msgpack value is nested deeper than MAX_DEPTH, as far as arrays and maps open one in another."""
    at, depth = 0, 0
    while at < len(data) and depth <= MAX_DEPTH:
        opened = _msgpack_opens(data, at)
        if opened is None:
            return False
        at, depth = opened, depth + 1
    return depth > MAX_DEPTH


def _msgpack_opens(data: bytes, at: int) -> int | None:
    """Where the innermost first value of the container at ``at`` begins, past a short text key; None if no container.

    https://github.com/msgpack/msgpack/blob/master/spec.md
    """
    kind = data[at]
    is_map = kind in {0xDE, 0xDF} or 0x80 < kind < 0x90
    if not is_map and kind not in _MSGPACK_ARRAYS:
        return None
    after = at + {0xDC: 3, 0xDE: 3, 0xDD: 5, 0xDF: 5}.get(kind, 1)
    if is_map and after < len(data) and 0xA0 <= data[after] < 0xC0:
        after += 1 + data[after] - 0xA0
    return after


JSON = Encoding("json", msgspec.json.Decoder(Request).decode, _json_frame, b"{}", _json_is_batch, _json_too_deep)
MSGPACK = Encoding(
    "msgpack", msgspec.msgpack.Decoder(Request).decode, _msgpack_frame, b"\x80", _msgpack_is_batch, _msgpack_too_deep
)


class FrameDecoder:
    """Bytes in, whole frames out. Holds at most one incomplete frame: MAX_FRAME_BYTES and a little.

    After a broken frame ``error`` is set, the frames before it are still returned, and more bytes change nothing.
    """

    __slots__ = ("_needed", "_partial", "encoding", "error")

    def __init__(self) -> None:
        self.encoding: Encoding | None = None
        self.error: FrameError | None = None
        self._partial = bytearray()
        self._needed = 0  # msgpack: bytes that must be there before a frame can be whole

    @property
    def held_bytes(self) -> int:
        """How much of an incomplete frame is held."""
        return len(self._partial)

    @property
    def answers_in(self) -> Encoding:
        """The encoding to answer in. Bytes that cannot begin a msgpack frame are answered as text, for people."""
        return self.encoding or JSON

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes, however they are cut, and return the frames that are whole now."""
        if self.error is not None or not data:
            return []
        if self.encoding is None and not self._choose(data[0]):
            return []
        return self._feed_json(data) if self.encoding is JSON else self._feed_msgpack(data)

    def close(self) -> None:
        """No more bytes will come: half a frame is an error."""
        if self._partial and self.error is None:
            self._fail(PARSE_ERROR, "the connection ended within a frame")

    def _choose(self, first: int) -> bool:
        if first == ord("{"):
            self.encoding = JSON
        elif first == ord("["):
            self._fail(INVALID_REQUEST, "batches are not supported", next_step="send one request after another")
        elif 0x20 <= first < 0x7F or first in b"\t\r\n":
            self._fail(PARSE_ERROR, "a JSON request begins with '{' as the first byte of the connection")
        else:
            self.encoding = MSGPACK
        return self.encoding is not None

    def _feed_json(self, data: bytes) -> list[bytes]:
        *lines, rest = data.split(b"\n")
        if lines and self._partial:
            lines[0] = bytes(self._partial) + lines[0]
            self._partial = bytearray()
        frames: list[bytes] = []
        for line in lines:
            if len(line) > MAX_FRAME_BYTES:
                self._fail_too_large()
                return frames
            if line and not line.isspace():
                frames.append(line)
        self._partial += rest
        if len(self._partial) > MAX_FRAME_BYTES:
            self._fail_too_large()
        return frames

    def _feed_msgpack(self, data: bytes) -> list[bytes]:
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return []
            data = bytes(self._partial)
            self._partial = bytearray()
        frames: list[bytes] = []
        at, end = 0, len(data)
        self._needed = LENGTH_BYTES
        while end - at >= LENGTH_BYTES:
            size = int.from_bytes(data[at : at + LENGTH_BYTES], "big")
            if not 0 < size <= MAX_FRAME_BYTES:
                self._fail_too_large() if size else self._fail(INVALID_REQUEST, "a frame of length 0")
                return frames
            start = at + LENGTH_BYTES
            if end - start < size:
                self._needed = LENGTH_BYTES + size
                break
            at = start + size
            frames.append(data[start:at])
        self._partial += data[at:]
        return frames

    def _fail_too_large(self) -> None:
        self._fail(INVALID_REQUEST, f"a frame of more than {MAX_FRAME_BYTES} bytes")

    def _fail(self, code: int, what: str, **more: str) -> None:
        self.error = FrameError(code, what, **more)
        self._partial = bytearray()

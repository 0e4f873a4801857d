"""The frame decoder: any bytes, in any pieces."""

from __future__ import annotations

import contextlib
import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.rpc.codec import JSON, MSGPACK, Encoding, FrameDecoder, FrameError
from hermesd.rpc.wire import INVALID_REQUEST, MAX_FRAME_BYTES, MAX_METHOD_BYTES, PARSE_ERROR


def request(**more: object) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": 1, "method": "rpc.ping", "params": {}, **more}


def packed(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at = [], 0
    for size in sizes:
        pieces.append(data[at : at + size])
        at += size
    return [*pieces, data[at:]]


def read(pieces: list[bytes]) -> tuple[list[bytes], FrameError | None]:
    decoder = FrameDecoder()
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    decoder.close()
    return frames, decoder.error


sizes = st.lists(st.integers(1, 9), max_size=30)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), sizes)
def test_msgpack_frames_are_the_same_however_the_bytes_are_cut(payloads: list[bytes], sizes: list[int]) -> None:
    """What went in comes out, frame by frame."""
    assert read(cut(b"".join(map(packed, payloads)), sizes)) == (payloads, None)


@given(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9)), min_size=1, max_size=6), sizes)
def test_json_lines_are_the_same_however_the_bytes_are_cut(values: list[dict[str, str]], sizes: list[int]) -> None:
    """What went in comes out, line by line."""
    lines = [json.dumps(value).encode() for value in values]
    assert read(cut(b"\n".join(lines) + b"\n", sizes)) == (lines, None)


@given(st.sampled_from([b"", b"{", b"\x00\x00\x00", b"\x00"]), st.binary(max_size=300), sizes)
def test_any_bytes_are_frames_or_a_frame_error(start: bytes, data: bytes, sizes: list[int]) -> None:
    """Nothing but FrameError is ever raised or set, by the frames or by what is in them."""
    decoder = FrameDecoder()
    for piece in cut(start + data, sizes):
        for frame in decoder.feed(piece):
            _decode(decoder.answers_in, frame)
        assert decoder.held_bytes <= len(start + data)
    decoder.close()


def _decode(encoding: Encoding, frame: bytes) -> None:
    with contextlib.suppress(FrameError):
        encoding.request(frame)


@given(st.sampled_from([JSON, MSGPACK]), st.binary(max_size=200))
def test_any_payload_is_a_request_or_a_frame_error(encoding: Encoding, payload: bytes) -> None:
    """The envelope's decoder and the depth check raise nothing else."""
    _decode(encoding, payload)
    assert encoding.too_deep(payload) in (True, False)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x00\x00\x00\x00", INVALID_REQUEST),
        (b"\xff\xff\xff\xff", INVALID_REQUEST),
        ((MAX_FRAME_BYTES + 1).to_bytes(4, "big"), INVALID_REQUEST),
        (b"[]\n", INVALID_REQUEST),
        (b"GET / HTTP/1.1\r\n", PARSE_ERROR),
        (b"\n{}", PARSE_ERROR),
        (b'{"jsonrpc"', PARSE_ERROR),
        (b"\x00\x00\x00\x09abc", PARSE_ERROR),
    ],
    ids=["length 0", "length 2^32-1", "over the cap", "batch", "HTTP", "newline first", "half a line", "half a frame"],
)
def test_a_broken_frame_sets_an_error(data: bytes, code: int) -> None:
    """Each kind of it, as one piece and byte by byte."""
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        frames, error = read(pieces)
        assert frames == []
        assert error is not None
        assert error.rpc_code == code


def test_frames_before_a_broken_one_are_still_returned() -> None:
    """And nothing after it is."""
    good = packed(b"\x80")
    decoder = FrameDecoder()
    assert decoder.feed(good + good + b"\0\0\0\0" + good) == [b"\x80", b"\x80"]
    assert decoder.error is not None
    assert decoder.feed(good) == []


def test_empty_lines_are_ignored() -> None:
    """Somebody presses Enter twice in nc."""
    assert read([b"{}\n\n\r\n{}\n"]) == ([b"{}", b"{}"], None)


@pytest.mark.parametrize("first", [b"{", b"\x01\x00\x00\x00"])
def test_a_frame_without_end_holds_no_more_than_the_cap(first: bytes) -> None:
    """Memory stays within the cap and a few pieces, and the JSON one ends in an error."""
    decoder = FrameDecoder()
    piece = b"x" * 65536
    tracemalloc.start()
    try:
        decoder.feed(first)
        for _ in range(MAX_FRAME_BYTES // len(piece) - 1):
            decoder.feed(piece)
        held, peak = decoder.held_bytes, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert held <= MAX_FRAME_BYTES + 4
    assert peak < 2.5 * MAX_FRAME_BYTES
    decoder.feed(piece * 2)
    assert decoder.held_bytes <= len(piece) * 2


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"jsonrpc": "1.0", "id": 1, "method": "x"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "method": "x"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": None, "method": "x"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 1.5, "method": "x"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 2**60, "method": "x"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": "x" * 129, "method": "x"}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 1, "method": "x" * (MAX_METHOD_BYTES + 1)}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 1, "method": 7}, INVALID_REQUEST),
        ({"jsonrpc": "2.0", "id": 1, "method": "x", "more": 1}, INVALID_REQUEST),
        ([], INVALID_REQUEST),
        ("text", INVALID_REQUEST),
    ],
)
def test_what_is_not_a_request_is_refused_in_both_encodings(message: object, code: int) -> None:
    """By the envelope alone, before the method is looked at."""
    for encoding, payload in ((JSON, json.dumps(message).encode()), (MSGPACK, msgspec.msgpack.encode(message))):
        with pytest.raises(FrameError) as caught:
            encoding.request(payload)
        assert caught.value.rpc_code == code


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b'{"jsonrpc":"2.0","id":1e400,"method":"x"}', INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', PARSE_ERROR),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"[" * 10_000 + b"]" * 10_000 + b"}", INVALID_REQUEST),
        (b'{"jsonrpc":"2.0","id":1,"method":"x"', PARSE_ERROR),
    ],
    ids=["1e400", "bad UTF-8", "10k nesting", "truncated"],
)
def test_malformed_json_is_refused(payload: bytes, code: int) -> None:
    """With the code that says what kind of wrong it is."""
    with pytest.raises(FrameError) as caught:
        JSON.request(payload)
    assert caught.value.rpc_code == code


@pytest.mark.parametrize(
    "tail",
    [b"\x91" * 10_000 + b"\x90", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"],
    ids=["10k nesting", "array of 2^32-1", "map of 2^32-1", "bytes of 2^32-1"],
)
def test_malformed_msgpack_is_refused_without_allocating_what_it_claims(tail: bytes) -> None:
    """A length is a claim, not a size to allocate."""
    payload = msgspec.msgpack.encode(request(params=0))[:-1] + tail
    tracemalloc.start()
    try:
        with pytest.raises(FrameError):
            MSGPACK.request(payload)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("depth", [64, 65])
def test_depth_is_counted_in_both_encodings(depth: int) -> None:
    """64 levels are within the bound, 65 are not; brackets in a text are not levels."""
    value: object = "[[[[" * 100
    for _ in range(depth // 2):
        value = {"a": [value]}
    if depth % 2:
        value = [value]
    assert JSON.too_deep(json.dumps(value).encode()) is (depth > 64)
    assert MSGPACK.too_deep(msgspec.msgpack.encode(value)) is (depth > 64)

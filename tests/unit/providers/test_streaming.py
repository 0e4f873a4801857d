"""Server-sent events: any cutting of the bytes gives the same events."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.providers.base import ProviderError
from hermesd.providers.streaming import SseEvent, SseParser

LINE_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n"])
LINES = st.one_of(
    st.sampled_from(
        [b"", b"data", b"data:", b"data: x", b"data:  y", b"event: ping", b":comment", b"id: 7", b"data:{"]
    ),
    st.binary(max_size=12).map(lambda raw: raw.translate(None, b"\r\n")),
)
STREAMS = st.lists(st.tuples(LINES, LINE_ENDS), max_size=30).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def reference(stream: bytes) -> list[SseEvent]:
    """The standard's algorithm in its plainest form, over the whole stream at once."""
    events: list[SseEvent] = []
    data: list[bytes] = []
    name = ""
    lines = stream.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for line in lines[:-1]:
        if not line:
            if data:
                events.append(SseEvent(name, b"\n".join(data)))
            data, name = [], ""
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value[:1] == b" " else value
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return events


def parse(stream: bytes, cuts: list[int]) -> list[SseEvent]:
    parser = SseParser()
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    return [event for piece in pieces for event in parser.feed(piece)]


@given(STREAMS, st.lists(st.integers(0, 500), max_size=12))
def test_any_chunking_gives_the_events_of_the_standard(stream: bytes, cuts: list[int]) -> None:
    """Whatever the line ends and wherever the network cut, the events are those of the plain algorithm."""
    assert parse(stream, cuts) == reference(stream)


@given(STREAMS)
def test_one_byte_at_a_time_gives_the_same_events(stream: bytes) -> None:
    """The worst cutting there is."""
    assert parse(stream, list(range(len(stream)))) == reference(stream)


def test_a_byte_order_mark_is_not_part_of_the_first_field() -> None:
    """Not even when it arrives in pieces."""
    parser = SseParser()
    events = [event for byte in b"\xef\xbb\xbfdata: a\n\n" for event in parser.feed(bytes([byte]))]
    assert events == [SseEvent("", b"a")]


def test_an_event_without_its_blank_line_is_dropped() -> None:
    """Half an event at the end of the stream is no event."""
    assert SseParser().feed(b"data: a\n\ndata: b\n") == [SseEvent("", b"a")]


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: " + b"x" * 94 + b"\n"])
def test_an_endless_line_or_event_is_refused(piece: bytes) -> None:
    """What is held back is bounded, whether one line never ends or one event has no end of lines."""
    parser = SseParser(max_event_bytes=1000)
    with pytest.raises(ProviderError) as caught:
        for _ in range(11):
            parser.feed(piece)
    assert caught.value.kind == "malformed"


def test_many_events_do_not_add_up_to_the_limit() -> None:
    """The bound is one event's, not the stream's."""
    parser = SseParser(max_event_bytes=100)
    assert sum(len(parser.feed(b"data: " + b"x" * 90 + b"\n\n")) for _ in range(50)) == 50
    for _ in range(50):
        for part in (b"data: " + b"x" * 40, b"x" * 40 + b"\n", b"\n"):
            parser.feed(part)

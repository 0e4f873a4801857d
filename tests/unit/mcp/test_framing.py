"""Lines out of pieces."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp.errors import McpError
from hermesd.mcp.framing import LineFramer
from tests.cost import LINEAR, growth

LINES = st.lists(st.binary(min_size=1, max_size=40).filter(lambda line: not set(line) & {10, 13}))


@given(LINES, st.lists(st.integers(0, 400)))
def test_lines_come_out_whole_however_they_were_cut(lines: list[bytes], cuts: list[int]) -> None:
    """The same lines in the same order, for any cutting of the stream."""
    stream = b"".join(line + b"\n" for line in lines)
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    framer = LineFramer(1000)
    found = [line for start, end in itertools.pairwise(places) for line in framer.feed(stream[start:end])]
    assert found == lines


def test_carriage_returns_and_empty_lines_are_passed_over() -> None:
    """A server on another system may end its lines otherwise."""
    assert LineFramer(100).feed(b"a\r\n\r\n\nb\n") == [b"a", b"b"]


def test_a_line_above_the_cap_is_refused_before_it_is_whole() -> None:
    """Memory stays within the cap."""
    framer = LineFramer(10)
    framer.feed(b"12345")
    with pytest.raises(McpError) as caught:
        framer.feed(b"678901")
    assert caught.value.kind == "protocol"
    assert framer.held == 0


def fed_with(pieces: int) -> Callable[[], None]:
    """Some lines, each of which comes in so many small pieces."""
    piece = b"x" * 1024

    def work() -> None:
        framer = LineFramer(64 * 1024 * 1024)
        for _ in range(5):
            for _ in range(pieces):
                framer.feed(piece)
            [line] = framer.feed(b"\n")
            assert len(line) == pieces * len(piece)

    return work


def test_a_long_line_takes_linear_time() -> None:
    """P2: one of 4 MB costs eight times as much as one of an eighth of it, however many pieces it comes in."""
    assert growth(fed_with, 500) < LINEAR

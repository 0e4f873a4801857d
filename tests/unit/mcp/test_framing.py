"""Lines out of pieces."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp.errors import McpError
from hermesd.mcp.framing import LineFramer

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


def test_a_line_of_40_mb_takes_linear_time() -> None:
    """Pieces of a pipe's size, well under a second of CPU (P2)."""
    framer, piece = LineFramer(64 * 1024 * 1024), b"x" * 65536
    started = time.process_time()
    for _ in range(640):
        framer.feed(piece)
    [line] = framer.feed(b"\n")
    assert len(line) == 640 * 65536
    assert time.process_time() - started < 0.5

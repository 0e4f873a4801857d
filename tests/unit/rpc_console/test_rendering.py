"""The parts that renderers are made of: safe text, units, tables, log lines, the end of a file."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import UsageError
from hermesd.rpc.console_arguments import parse
from hermesd.rpc.log_tail import BLOCK_BYTES, read_tail
from hermesd.rpc.render.events import line as event_line
from hermesd.rpc.render.logs import line as log_line
from hermesd.rpc.render.page import Page, Painted, display_width, truncate
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import ControlFilter, clean, one_line
from hermesd.rpc.render.units import ago, counted, size, span

HARMFUL = set(map(chr, [*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0)])) | set("\u202e\u2066\ud800")
noise = st.text(alphabet=st.sampled_from("ab [];?0m\\\n\x07\x1b\x9b\x9d\x9c\x90\u202e語\x00"), max_size=60)


@given(noise)
def test_cleaned_text_holds_no_control_character(text: str) -> None:
    """Whatever came in."""
    assert not set(clean(text)) & HARMFUL
    assert "\n" not in one_line(text)


@given(noise, st.lists(st.integers(0, 60), max_size=5))
def test_chunks_are_filtered_as_the_whole_is(text: str, cuts: list[int]) -> None:
    """A sequence that two chunks share is one sequence."""
    edges = [0, *sorted(cuts), len(text)]
    stream = ControlFilter()
    assert "".join(stream.feed(text[a:b]) for a, b in pairwise(edges)) == clean(text)


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_plain_text_stays_as_it_is(text: str) -> None:
    """Letters, digits, signs and spaces in any script."""
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;c2VjcmV0", ""),
        ("\x1b]52;c;never ended\nnext line", "\nnext line"),
        ("\x1bPq#0\x1b\\x", "x"),
        ("\x9b2Jx", "x"),
        ("\x1b(Bx", "x"),
        ("a\rb\x08c", "abc"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("\u202etxt.exe", "txt.exe"),
    ],
)
def test_sequences_of_each_kind_are_taken_out(text: str, expected: str) -> None:
    """CSI, OSC by BEL and ST, DCS, 8-bit forms, charset selection; an OSC without an end ends with its line."""
    assert clean(text) == expected


@pytest.mark.parametrize(
    ("passed", "expected"),
    [(0, "now"), (5, "5 s ago"), (119, "119 s ago"), (180, "3 min ago"), (7200, "2 h ago"), (3 * 86400, "3 days ago")],
)
def test_times_are_relative(passed: float, expected: str) -> None:
    """In the largest unit of which there are two."""
    assert ago(1e9, 1e9 - passed) == expected


def test_times_to_come_never_and_long_past() -> None:
    """A next try, a zero, a date."""
    assert ago(1e9, 1e9 + 4) == "in 4 s"
    assert ago(1e9, 0) == "–"
    assert ago(1e9, 1e9 - 90 * 86400) == "2001-06-11"
    assert (span(90000), size(512), size(21_400_000), counted(1, "try")) == ("25 h", "512 B", "21.4 MB", "1 try")


@given(st.text(max_size=40), st.integers(1, 30))
def test_truncated_text_fits(text: str, width: int) -> None:
    """In columns, not in characters."""
    assert display_width(truncate(text, width)) <= width


cells = st.text(alphabet="ab 語é", max_size=50)


@given(st.lists(st.tuples(cells, cells, cells), max_size=6), st.integers(40, 120))
def test_a_table_fits_its_page_and_is_aligned(rows: list[tuple[str, str, str]], width: int) -> None:
    """Every line is at most as wide as the page; the second column begins at one place."""
    lines = table(Page(width=width), ("A", "B", "C"), [(x, Painted(y, "red"), z) for x, y, z in rows])
    assert len(lines) == len(rows) + 1
    assert all(display_width(line) <= width for line in lines)


def test_many_columns_fit_a_narrow_page() -> None:
    """Nine, as of webhooks, in 60 characters."""
    lines = table(Page(width=60), [f"COLUMN{number}" for number in range(9)], [["something long"] * 9])
    assert all(display_width(line) <= 60 for line in lines)
    assert lines[0].count("…") == 9


def test_a_log_line_is_made_for_people() -> None:
    """Time, level, event, then the rest as name=value; a multi-line traceback keeps its lines."""
    entry = {"at": 0, "level": "WARNING", "event": "slow", "service": "rpc", "took": 0.3, "error": "a\nb"}
    text = log_line(Page(width=0), json.dumps(entry))
    assert text.endswith("warning slow service=rpc took=0.3 error=a b")
    assert log_line(Page(), "Traceback \x1b[2Jhere") == "Traceback here"
    assert log_line(Page(), "[1]") == "[1]"


def test_an_event_line_takes_plain_values() -> None:
    """As hermesctl has them when it follows the stream."""
    text = event_line(
        Page(width=0), id=7, at=0.0, kind="service.failed", subject="x", data={"error": "a\x1b[2J", "n": 0}
    )
    assert "service.failed" in text
    assert text.endswith("x error=a n=0")


def test_the_tail_of_a_large_file_is_read_from_its_end(tmp_path: Path) -> None:
    """Across block borders, in order, with a last line that has no newline."""
    path = tmp_path / "log"
    lines = [f"{number} " + "x" * (number % 977) for number in range(2000)]
    path.write_text("\n".join(lines))
    assert path.stat().st_size > 5 * BLOCK_BYTES
    assert read_tail(path, lines=500) == lines[-500:]
    assert read_tail(path, lines=10_000) == lines
    assert read_tail(tmp_path / "none", lines=5) == []
    assert read_tail(path, lines=0) == []
    with pytest.raises(UsageError):
        read_tail(path, lines=1, level="loud")


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_command_line_is_parsed_or_refused(argv: list[str]) -> None:
    """Nothing but UsageError leaves the parser."""
    for words in (argv, ["inbox", *argv], ["sessions", "search", *argv]):
        try:
            call = parse(words)
        except UsageError:
            continue
        assert call.verb


def test_flags_stand_anywhere() -> None:
    """Before and after the verb, attached or apart."""
    call = parse(["-p", "x", "--json", "inbox", "list", "-n5", "--state=parked", "--state", "failed"])
    assert (call.profile, call.json, call.number("limit", 50), call.states) == ("x", True, 5, ["parked", "failed"])
    assert parse(["inbox", "-a", "-p", "y"]).verb == "inbox list"
    assert parse(["sessions", "search", "--", "-n", "x"]).words == ["-n", "x"]


def test_a_log_line_says_nothing_twice() -> None:
    """No module, no traceback, no service that the message names; ``--json`` has them all."""
    entry = {"at": 0, "level": "info", "message": "store is ready", "logger": "hermesd.app", "service": "store"}
    assert log_line(Page(), json.dumps(entry)).endswith("info    store is ready")
    entry |= {"message": "refused", "error": "Traceback …", "service": "rpc"}
    assert log_line(Page(), json.dumps(entry)).endswith("refused service=rpc")


def test_an_event_says_nothing_twice() -> None:
    """Neither its subject nor its profile again."""
    data = {"id": 7, "profile": "coder", "state": "sent"}
    shown = event_line(Page(), id=1, at=0.0, kind="outbox.sent", subject="7", profile="coder", data=data)
    assert shown.endswith("7 (coder) state=sent")

"""What another agent is shown of our rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hermesd.serving.shaping import MAX_TEXT, MAX_TOTAL, fitting, pick, text


@given(st.text(max_size=MAX_TEXT * 2))
def test_a_text_is_bounded_and_has_no_controls(value: str) -> None:
    """Whatever it was."""
    shown = text(value)
    assert len(shown) <= MAX_TEXT + 100
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_of_a_long_text_the_middle_is_left_out() -> None:
    """And it says so."""
    shown = text("a" * 5000 + "b" * 10_000 + "c" * 5000)
    assert shown.startswith("aaaa")
    assert shown.endswith("cccc")
    assert "12000 characters left out" in shown


def test_times_are_told_in_words_and_empty_fields_are_left_out() -> None:
    """As ISO 8601 in UTC."""
    row = {"id": 7, "created_at": 0.0, "title": "", "states": [], "untrusted": False, "hidden": "x"}
    wanted = pick(row, "id", "created_at", "title", "states", "untrusted", "absent")
    assert wanted == {"id": 7, "created_at": "1970-01-01T00:00:00+00:00", "untrusted": False}


def test_rows_that_do_not_fit_are_counted() -> None:
    """An answer stays small enough to be read."""
    rows = [{"text": "x" * MAX_TEXT} for _ in range(100)]
    shown = fitting("rows", rows)
    assert len(shown["rows"]) == MAX_TOTAL // MAX_TEXT
    assert shown["left_out"] == 100 - len(shown["rows"])
    assert "left_out" not in fitting("rows", rows[:1])

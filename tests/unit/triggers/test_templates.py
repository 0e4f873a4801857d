"""Prompt templates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hermesd.triggers.templates import RAW_CHARS, STRUCTURE_CHARS, render

PAYLOAD: dict[str, object] = {
    "repo": {"name": "hermesd", "stars": 3, "private": False},
    "commits": [{"message": "first {repo.name}"}],
    "nothing": None,
}


def test_values_are_found_by_their_path() -> None:
    """Objects by name, lists by index, scalars as text."""
    text = render("{repo.name} {repo.stars} {repo.private} {commits.0.message} {nothing}", PAYLOAD, event_type="push")
    assert text == "hermesd 3 false first {repo.name} null"


def test_unknown_names_stay_as_written() -> None:
    """A template is never an error, and code in braces is not touched."""
    source = "{repo.owner} {commits.7} {} { repo } {a b} {{x}}"
    assert render(source, PAYLOAD, event_type="push") == source


def test_structures_and_the_raw_payload_are_bounded() -> None:
    """A large payload cannot flood the prompt."""
    large: dict[str, object] = {"list": ["x" * 100] * 100}
    assert len(render("{list}", large, event_type="")) == STRUCTURE_CHARS
    assert len(render("{__raw__}", large, event_type="")) == RAW_CHARS
    assert render("", {"a": 1}, event_type="") == '{"a":1}'


def test_event_type_is_the_requests_unless_the_payload_has_one() -> None:
    """Both places that senders use are served."""
    assert render("{event_type}", {}, event_type="push") == "push"
    assert render("{event_type}", {"event_type": "own"}, event_type="push") == "own"


@given(st.text(), st.dictionaries(st.text(), st.text()))
def test_no_template_raises(template: str, payload: dict[str, object]) -> None:
    """Whatever is configured renders."""
    assert isinstance(render(template, payload, event_type=""), str)

"""A tool's structured answer and its output schema: what is looked at, and that it ends."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp import output

WEATHER: dict[str, Any] = {
    "type": "object",
    "required": ["at", "days"],
    "properties": {
        "at": {"$ref": "#/$defs/place"},
        "days": {"type": "array", "items": {"type": "object", "properties": {"t": {"type": "integer"}}}},
        "sky": {"enum": ["clear", "grey"]},
    },
    "additionalProperties": False,
    "$defs": {"place": {"type": ["string", "null"], "pattern": "^\\p{L}+$"}},
}


@pytest.mark.parametrize(
    "answer",
    [
        {"at": "Köln", "days": []},
        {"at": None, "days": [{"t": 3}, {"t": 4.0}], "sky": "grey"},
    ],
)
def test_an_answer_as_promised_has_no_complaint(answer: object) -> None:
    """Patterns, which only JavaScript may understand, are the server's own affair."""
    assert output.complaint(WEATHER, answer) == ""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([], "it is not of the type object"),
        ({"at": "x"}, "it lacks 'days'"),
        ({"at": 1, "days": []}, "it.at is not of the type string, null"),
        ({"at": "x", "days": [{}, {"t": 1.5}]}, "it.days[1].t is not of the type integer"),
        ({"at": "x", "days": [{"t": True}]}, "it.days[0].t is not of the type integer"),
        ({"at": "x", "days": [], "sky": "pink"}, "it.sky is none of the values that are allowed"),
        ({"at": "x", "days": [], "more": 1}, "it.more is not allowed"),
    ],
)
def test_what_is_not_as_promised_is_named_with_its_place(answer: object, said: str) -> None:
    """One sentence, of the first thing that is wrong."""
    assert output.complaint(WEATHER, answer) == said


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"items": {"enum": [str(n) for n in range(100_000)]}}, ["x"] * 100_000),
        ({"items": {"required": [str(n) for n in range(100_000)]}}, [{str(n): 1 for n in range(100_000)}] * 1000),
        ({"items": {}}, [0] * 3_000_000),
        ({"$ref": "#"}, 1),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, 1),
        ({"$ref": "#" + "/a" * 1_000_000}, 1),
    ],
)
def test_it_ends_soon_whatever_the_server_sends(schema: dict[str, Any], answer: object) -> None:
    """Long lists against long lists, and references in a circle."""
    began = time.process_time()
    assert output.complaint(schema, answer) == ""
    assert time.process_time() - began < 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=8,
)
KEYWORDS = st.sampled_from(
    ["type", "required", "enum", "const", "$ref", "properties", "items", "additionalProperties", "prefixItems"]
)


@given(
    schema=st.recursive(st.dictionaries(KEYWORDS, JSON, max_size=5), lambda below: st.dictionaries(KEYWORDS, below)),
    answer=JSON,
)
def test_no_schema_is_an_error(schema: dict[str, Any], answer: object) -> None:
    """A server may send anything as its schema; it says what it says, or nothing."""
    assert isinstance(output.complaint(schema, answer), str)

"""A tool's structured answer and its output schema: what is looked at, and that it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp import output
from tests.cost import LINEAR, growth

SIZE = 2000
"""The smaller one: work that grows with the square takes 64 times as long for the larger."""
REPEATED = 5
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


def enum(size: int) -> tuple[dict[str, Any], object]:
    return {"items": {"enum": [str(n) for n in range(size)]}}, [str(size - 1)] * size


def required(size: int) -> tuple[dict[str, Any], object]:
    names = [str(n) for n in range(size)]
    return {"items": {"required": names}}, [dict.fromkeys(names, 1)] * size


def items(size: int) -> tuple[dict[str, Any], object]:
    return {"items": {}}, [0] * size


def far_reference(size: int) -> tuple[dict[str, Any], object]:
    return {"$ref": "#" + "/a" * size}, 1


def doubling_references(size: int) -> tuple[dict[str, Any], object]:
    """Each twice to the next: two to the power of so many, if all were followed."""
    levels = size.bit_length()
    twice = {f"l{level}": {"items": {"$ref": f"#/$defs/l{level + 1}"}} for level in range(levels)}
    answer: object = 1
    for _ in range(levels):
        answer = [answer, answer]
    return {"$ref": "#/$defs/l0", "$defs": twice}, answer


@pytest.mark.parametrize("make", [enum, required, items, far_reference, doubling_references])
def test_it_ends_soon_whatever_the_server_sends(make: Callable[[int], tuple[dict[str, Any], object]]) -> None:
    """Long lists against long lists, and long references: what is looked at has an end, however much there is."""

    def compare(size: int) -> Callable[[], None]:
        schema, answer = make(size)

        def work() -> None:
            for _ in range(REPEATED):
                assert output.complaint(schema, answer) == ""

        return work

    assert growth(compare, SIZE) < LINEAR


@pytest.mark.parametrize(
    "schema",
    [{"$ref": "#"}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}],
)
def test_references_in_a_circle_come_to_an_end(schema: dict[str, Any]) -> None:
    """By the depth."""
    assert output.complaint(schema, 1) == ""


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

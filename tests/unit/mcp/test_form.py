"""A server's form as questions and answers: whatever it asks and whatever is said, what goes back fits its schema."""

from __future__ import annotations

import string
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp.elicitation import take
from hermesd.mcp.form import MAX_FIELDS, AnswerError, FormError, fields_of

WORDS = st.text(string.ascii_letters + " äß-,'", min_size=1, max_size=12)
DATES = "2024-02-29"


@st.composite
def bounds(draw: st.DrawFn, least: str, greatest: str, floor: int) -> dict[str, int]:
    low = draw(st.integers(floor, 20))
    found = {least: low, greatest: draw(st.integers(low, low + 20))}
    return {key: found[key] for key in draw(st.sets(st.sampled_from([least, greatest])))}


@st.composite
def properties(draw: st.DrawFn) -> dict[str, Any]:
    """One property of every kind that the specification has, defaults included."""
    kind = draw(st.sampled_from(["string", "number", "integer", "boolean", "enum", "names", "oneOf", "list", "anyOf"]))
    values = draw(st.lists(WORDS, min_size=1, max_size=5, unique=True))
    match kind:
        case "string":
            shape = draw(st.sampled_from([{}, {"format": "email"}, {"format": "uri"}, {"format": "date"}]))
            found = {"type": "string", **(shape or draw(bounds("minLength", "maxLength", 0)))}
        case "number" | "integer":
            found = {"type": kind, **draw(bounds("minimum", "maximum", -20))}
        case "boolean":
            found = {"type": "boolean", "default": draw(st.booleans())}
        case "enum":
            found = {"type": "string", "enum": values, "default": draw(st.sampled_from(values))}
        case "names":
            found = {"type": "string", "enum": values, "enumNames": [f"Name {n}" for n in range(len(values))]}
        case "oneOf":
            pairs = [{"const": value, "title": f"Title {n}"} for n, value in enumerate(values)]
            found = {"type": "string", "oneOf": pairs}
        case "list":
            found = {"type": "array", "items": {"type": "string", "enum": values}, "minItems": 1}
        case _:
            pairs = [{"const": value, "title": f"Title {n}"} for n, value in enumerate(values)]
            found = {"type": "array", "items": {"anyOf": pairs}, "maxItems": 3}
    return found | draw(
        st.sampled_from([{}, {"title": "A title"}, {"title": "T\u202ehidden", "description": "two\nlines"}])
    )


SCHEMAS = st.builds(
    lambda found, required: {
        "type": "object",
        "properties": found,
        "required": [name for name in found if name in required],
    },
    st.dictionaries(WORDS, properties(), min_size=1, max_size=4),
    st.sets(WORDS, max_size=2) | st.just(set(string.ascii_letters)),
)
SAID = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["yes", "no", "1", "2", "-3.5", "1e3", "default", "skip", "", DATES, "a@b.example", "http://x/y"]),
)


@given(SCHEMAS, st.data())
def test_whatever_is_answered_the_content_fits_the_schema(schema: dict[str, Any], data: st.DataObject) -> None:
    """Answers are taken or complained about; what was taken is valid by JSON Schema, with formats."""
    content: dict[str, Any] = {}
    complaints: list[str] = []
    for field in fields_of(schema):
        said = data.draw(st.one_of(SAID, st.sampled_from([*field.options(), *(c.value for c in field.choices), "1"])))
        try:
            take(field, said, content)
        except AnswerError as error:
            complaints.append(str(error))
    assert all(complaints)
    optional = {**schema, "required": []}
    jsonschema.validate(content, optional, format_checker=jsonschema.FormatChecker())


@given(SCHEMAS)
def test_every_offered_answer_is_taken(schema: dict[str, Any]) -> None:
    """What is offered as an option, and every title of a choice, is understood as what it stands for."""
    for field in fields_of(schema):
        for option in field.options():
            assert field.read(option) in (
                (True, False) if field.kind == "boolean" else [c.value for c in field.choices]
            )
        if field.default is not None:
            content: dict[str, Any] = {}
            assert take(field, "default", content) == "accept"
            assert content == {field.name: field.default}


@given(SCHEMAS)
def test_what_is_shown_has_no_hidden_characters_and_one_line(schema: dict[str, Any]) -> None:
    """A title cannot turn the text around, nor pretend to be another line."""
    for field in fields_of(schema):
        shown = field.question() + field.wanted() + field.shown_default()
        assert "\u202e" not in shown
        assert "\n" not in shown


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["type", "properties", "enum", "items", "oneOf", "default", "required"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_a_schema_that_is_none_is_refused_with_a_reason(schema: Any) -> None:
    """Nothing a server sends breaks us: it has fields, or a FormError says why not."""
    reason = "none"
    try:
        for field in fields_of(schema if isinstance(schema, dict) else {"properties": {"x": schema}}):
            assert field.question()
            assert field.wanted()
    except FormError as error:
        reason = str(error)
    assert reason


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}},
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"type": "string", "enum": [1, 2]}}},
        {"type": "object", "properties": {f"f{n}": {"type": "string"} for n in range(MAX_FIELDS + 1)}},
    ],
)
def test_what_no_form_may_have_is_refused(schema: dict[str, Any]) -> None:
    """Nested objects, lists of anything, choices that are no texts, and more fields than anyone would fill in."""
    with pytest.raises(FormError):
        fields_of(schema)


@pytest.mark.parametrize(
    ("schema", "said", "value"),
    [
        ({"type": "boolean"}, "Yes", True),
        ({"type": "integer"}, " 42 ", 42),
        ({"type": "number"}, "2.50", 2.5),
        ({"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]}, "green", "g"),
        ({"type": "string", "enum": ["r", "g"]}, "2", "g"),
        ({"type": "array", "items": {"enum": ["a", "b", "c"]}}, "c, A", ["c", "a"]),
        ({"type": "array", "items": {"anyOf": [{"const": "x", "title": "Salt, pepper"}]}}, "salt, pepper", ["x"]),
        ({"type": "string", "format": "date"}, DATES, DATES),
        ({"type": "string"}, '"skip"', "skip"),
        ({"type": "string"}, '"quoted"', '"quoted"'),
    ],
)
def test_answers_as_people_write_them(schema: dict[str, Any], said: str, value: object) -> None:
    """Any case, the number of a choice, several with commas; a reserved word in quotes is a text."""
    [field] = fields_of({"properties": {"x": schema}})
    content: dict[str, Any] = {}
    assert take(field, said, content) == "accept"
    assert content == {"x": value}
    assert type(content["x"]) is type(value)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"type": "integer"}, "4.5"),
        ({"type": "integer", "minimum": 1}, "0"),
        ({"type": "number", "maximum": 5}, "5.01"),
        ({"type": "number"}, "nan"),
        ({"type": "boolean"}, "perhaps"),
        ({"type": "string", "minLength": 3}, "ab"),
        ({"type": "string", "format": "email"}, "not an address"),
        ({"type": "string", "format": "date"}, "2023-02-29"),
        ({"type": "string", "format": "date-time"}, "tomorrow"),
        ({"type": "string", "format": "uri"}, "no scheme"),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 1}, "a, b"),
    ],
)
def test_what_does_not_fit_is_told_so(schema: dict[str, Any], said: str) -> None:
    """The complaint says what would."""
    [field] = fields_of({"properties": {"x": schema}, "required": ["x"]})
    content: dict[str, Any] = {}
    with pytest.raises(AnswerError):
        take(field, said, content)
    assert content == {}


def test_what_is_required_cannot_be_left_out_and_the_rest_can() -> None:
    """``skip`` and no answer at all leave out what may be."""
    schema = {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "required": ["a"]}
    needed, free = fields_of(schema)
    content: dict[str, Any] = {}
    with pytest.raises(AnswerError):
        take(needed, "skip", content)
    assert take(free, "skip", content) == "accept"
    assert take(free, "Decline", content) == "decline"
    assert take(free, "cancel", content) == "cancel"
    assert content == {}

"""A server's form as questions to a person, one a field, and their answers as its content.

Schemas: MCP 2025-11-25, client/elicitation, "Requested Schema": a flat object of strings, numbers, booleans and
choices. ``fields_of`` reads one, ``Field.question`` words it, ``Field.read`` takes the answer.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from hermesd.mcp import formats
from hermesd.mcp.sanitize import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["string", "number", "integer", "boolean", "choice", "choices"]
Value = str | int | float | bool | list[str] | None

MAX_FIELDS = 20
MAX_CHOICES = 50
MAX_TITLE = 80  # characters
MAX_TEXT = 500
MAX_NAME = 128
MAX_ANSWER = 10_000

YES = frozenset({"yes", "y", "true", "1", "on"})
NO = frozenset({"no", "n", "false", "0", "off"})


class FormError(ValueError):
    """The schema is none that a form may have; the text says why."""


class AnswerError(ValueError):
    """The answer does not fit; the text says what would."""


@dataclass(frozen=True, slots=True)
class Choice:
    """``value`` is what the server gets, ``title`` what a person sees."""

    value: str
    title: str


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that is asked for. Of text and lists ``least`` and ``greatest`` bound the length."""

    name: str
    kind: Kind
    title: str
    description: str = ""
    required: bool = False
    default: Value = None
    format: str = ""
    least: float | None = None
    greatest: float | None = None
    choices: tuple[Choice, ...] = ()

    def question(self) -> str:
        """What is asked, in the server's words."""
        text = f"{self.title}: {self.description}" if self.description else self.title
        titles = ", ".join(choice.title for choice in self.choices)
        return f"{text} [{titles}]" if self.kind == "choices" else text

    def options(self) -> list[str]:
        """Answers to choose from; none where anything may be said."""
        if self.kind == "boolean":
            return ["yes", "no"]
        return [choice.title for choice in self.choices] if self.kind == "choice" else []

    def shown_default(self) -> str:
        """The default as a person would write it; '' without one."""
        if self.default is None:
            return ""
        if isinstance(self.default, bool):
            return "yes" if self.default else "no"
        if isinstance(self.default, list):
            return ", ".join(map(self._title_of, self.default))
        return _words(self._title_of(str(self.default)), MAX_TITLE)

    def read(self, answer: str) -> Value:
        """The value that an answer stands for; raises AnswerError."""
        text = answer.strip()
        if len(text) > MAX_ANSWER:
            raise AnswerError(f"at most {MAX_ANSWER} characters, please")
        match self.kind:
            case "boolean":
                return self._boolean(text)
            case "integer" | "number":
                return self._number(text)
            case "choice":
                return self._choice(text)
            case "choices":
                return self._choices(text)
            case "string":
                return self._string(text)

    # -- reading -----------------------------------------------------------------------------------------------------

    @staticmethod
    def _boolean(text: str) -> bool:
        word = text.lower()
        if word not in YES | NO:
            raise AnswerError("answer yes or no")
        return word in YES

    def _number(self, text: str) -> int | float:
        try:
            number = formats.integer(text) if self.kind == "integer" else formats.number(text)
        except ValueError:
            raise AnswerError(f"that is not {self.wanted()}") from None
        if (self.least is not None and number < self.least) or (self.greatest is not None and number > self.greatest):
            raise AnswerError(f"it must be {self.wanted()}")
        return number

    def _string(self, text: str) -> str:
        if len(text) < (self.least or 0) or (self.greatest is not None and len(text) > self.greatest):
            raise AnswerError(f"it must be {self.wanted()}, and this has {len(text)}")
        if not formats.fits(text, self.format):
            raise AnswerError(f"that is not {self.wanted()}")
        return text

    def _choice(self, text: str) -> str:
        """By value, title or number; exactly written ones first."""
        for choice in self.choices:
            if text in (choice.value, choice.title):
                return choice.value
        for number, choice in enumerate(self.choices, 1):
            if text.casefold() in (choice.value.casefold(), choice.title.casefold(), str(number)):
                return choice.value
        raise AnswerError(f"choose of: {', '.join(choice.title for choice in self.choices)}")

    def _choices(self, text: str) -> list[str]:
        try:
            chosen = [self._choice(text)]  # a title may itself have a comma
        except AnswerError:
            chosen = [self._choice(part.strip()) for part in text.split(",") if part.strip()]
        chosen = list(dict.fromkeys(chosen))
        if len(chosen) < (self.least or 0) or (self.greatest is not None and len(chosen) > self.greatest):
            raise AnswerError(f"choose {self._bounds()} of them")
        return chosen

    # -- words -------------------------------------------------------------------------------------------------------

    def _title_of(self, value: str) -> str:
        return next((choice.title for choice in self.choices if choice.value == value), value)

    def wanted(self) -> str:
        """What an answer has to be."""
        bounds = self._bounds()
        match self.kind:
            case "boolean":
                return "yes or no"
            case "choice":
                return "one of these"
            case "choices":
                return f"{bounds} of these, with commas between" if bounds else "any of these, with commas between"
            case "integer" | "number":
                name = "a whole number" if self.kind == "integer" else "a number"
                return f"{name} {bounds}".rstrip()
            case "string":
                name = formats.NAMES.get(self.format, "text")
                return f"{name} of {bounds} characters" if bounds else name

    def _bounds(self) -> str:
        least, greatest = _figure(self.least), _figure(self.greatest)
        if self.least is not None and self.greatest is not None:
            return f"{least} to {greatest}" if least != greatest else f"exactly {least}"
        if self.least is not None:
            return f"at least {least}"
        return f"at most {greatest}" if self.greatest is not None else ""


def _figure(number: float | None) -> str:
    return "" if number is None else f"{number:g}" if abs(number) < 1e6 else str(number)


# -- from the schema ---------------------------------------------------------------------------------------------------


def fields_of(schema: Mapping[str, object]) -> list[Field]:
    """The fields in the server's order; raises FormError for anything but a flat object of plain values."""
    properties = schema.get("properties", {})
    if schema.get("type", "object") != "object" or not isinstance(properties, dict):
        raise FormError("it is not the schema of an object with properties")
    if len(properties) > MAX_FIELDS:
        raise FormError(f"it has {len(properties)} fields, and {MAX_FIELDS} are the limit")
    required = schema.get("required")
    names = required if isinstance(required, list) else []
    return [_field(str(name), found, required=name in names) for name, found in properties.items()]


def _field(name: str, found: object, *, required: bool) -> Field:
    if not isinstance(found, dict) or not name or len(name) > MAX_NAME:
        raise FormError(f"its field {name[:40]!r} makes no sense")
    kind, choices, (least, greatest) = _kind(name, found)
    field = Field(
        name=name,
        kind=kind,
        title=_words(found.get("title"), MAX_TITLE) or _words(name, MAX_TITLE) or "a field",
        description=_words(found.get("description"), MAX_TEXT),
        required=required,
        format=str(found.get("format", "")) if kind == "string" else "",
        least=_bound(found.get(least)),
        greatest=_bound(found.get(greatest)),
        choices=choices,
    )
    return _with_default(field, found.get("default"))


_BOUNDS = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
    "choices": ("minItems", "maxItems"),
}
_NO_BOUNDS = ("", "")


def _kind(name: str, found: Mapping[str, object]) -> tuple[Kind, tuple[Choice, ...], tuple[str, str]]:
    kind = found.get("type")
    if kind == "array":
        items = found.get("items")
        choices = _choices(items, "anyOf") if isinstance(items, dict) else ()
        if not choices:
            raise FormError(f"its field {name[:40]!r} is a list of anything")
        return "choices", choices, _BOUNDS["choices"]
    if kind not in ("string", "integer", "number", "boolean"):
        raise FormError(f"its field {name[:40]!r} is no plain value")
    choices = _choices(found, "oneOf") if kind == "string" else ()
    if choices:
        return "choice", choices, _NO_BOUNDS
    return kind, (), _BOUNDS.get(str(kind), _NO_BOUNDS)


def _choices(found: Mapping[str, object], titled: str) -> tuple[Choice, ...]:
    """From ``enum`` (with ``enumNames``, as older servers have it), or from ``const`` and ``title`` pairs."""
    values, names, pairs = found.get("enum"), found.get("enumNames"), found.get(titled)
    if isinstance(pairs, list):
        rows = [(pair.get("const"), pair.get("title")) for pair in pairs if isinstance(pair, dict)]
    elif isinstance(values, list):
        titles = names if isinstance(names, list) and len(names) == len(values) else values
        rows = list(zip(values, titles, strict=True))
    else:
        return ()
    choices = tuple(
        Choice(value, _words(title, MAX_TITLE) or _words(value, MAX_TITLE) or "?")
        for value, title in rows
        if isinstance(value, str)
    )
    if not 0 < len(choices) == len(rows) <= MAX_CHOICES:
        raise FormError(f"its choices are not 1 to {MAX_CHOICES} texts")
    return choices


def _with_default(field: Field, default: object) -> Field:
    """The field with its default, if that is one it could have been given."""
    if default is None or isinstance(default, dict):
        return field
    import dataclasses

    values = {choice.value for choice in field.choices}
    fits = {
        "string": isinstance(default, str) and len(default) <= MAX_ANSWER,
        "boolean": isinstance(default, bool),
        "integer": isinstance(default, int) and not isinstance(default, bool),
        "number": isinstance(default, int | float) and not isinstance(default, bool),
        "choice": isinstance(default, str) and default in values,
        "choices": isinstance(default, list) and all(isinstance(item, str) and item in values for item in default),
    }
    return dataclasses.replace(field, default=cast("Value", default)) if fits[field.kind] else field


def _bound(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _words(text: object, limit: int) -> str:
    """A server's text on one line."""
    return re.sub(r"\s+", " ", clean(text, limit, set(), "")).strip()

"""Texts and schemas from a server, made safe for a model: hidden characters gone, sizes bounded, references resolved.

A tool's description is read by the model as if it were ours, so whoever writes it can write instructions, also ones
that a person does not see: format characters, tags, bidirectional overrides, variation selectors (Unicode Standard
Annex #9 and section 23.9). What was done to a definition is told in its flags.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DESCRIPTION = 4096  # characters of a tool's description
MAX_PROPERTY_TEXT = 1024  # characters of any text within a schema
MAX_PROPERTY_NAME = 128
MAX_DEPTH = 16
MAX_NODES = 2000  # of one schema, with its references in place
MAX_SCHEMA_CHARS = 64 * 1024
MAX_CHOICES = 256
MAX_WORK = 4 * 1024 * 1024  # characters looked through for one server's list: seconds of a core otherwise
MAX_SCHEMA_WORK = 4 * MAX_SCHEMA_CHARS  # and for one schema, whose references may repeat a text thousands of times

_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})
_CUT = " [cut]"
_DROPPED = frozenset({"$defs", "definitions", "$schema", "$id", "$comment", "$anchor", "examples", "title"})
_NOT_AT_TOP = frozenset({"oneOf", "anyOf", "allOf", "not", "enum", "const", "if", "then", "else"})
_MAPS_OF_SCHEMAS = frozenset({"properties", "patternProperties", "dependentSchemas"})


@functools.cache
def _orders() -> re.Pattern[str]:
    """Compiled at first use: it takes as long as reading ten modules, and many a daemon has no MCP server."""
    return re.compile(
        r"ignore\s{1,9}(?:\w{1,20}\s{1,9}){0,2}(?:previous|prior|above|earlier|other)"
        r"|disregard\s{1,9}(?:\w{1,20}\s{1,9}){0,2}(?:previous|prior|above|instructions)"
        r"|(?:do\s{1,9}not|don't|never)\s{1,9}(?:tell|mention|inform|reveal|show)[^.\n]{0,40}\buser"
        r"|<\s{0,3}(?:important|system|instructions?)\s{0,3}>"
        r"|system\s{1,9}prompt",
        re.IGNORECASE,
    )


class Work:
    """What may still be looked through, in characters, when a whole list is cleaned."""

    def __init__(self, left: int = MAX_WORK) -> None:
        self.left = left


def is_hidden(char: str) -> bool:
    """Whether a person would not see this character, or it changes how others are seen. Newline and tab are seen."""
    if char.isascii():
        return not (" " <= char <= "~" or char in "\n\t")
    if char in _INVISIBLE or "\ufe00" <= char <= "\ufe0f" or "\U000e0000" <= char <= "\U000e0fff":
        return True
    import unicodedata

    return unicodedata.category(char) in _HIDDEN_CATEGORIES


def visible(text: str) -> str:
    """The text without hidden characters; line and paragraph separators become newlines."""
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return "".join(char for char in text if not is_hidden(char))


def clean(text: object, limit: int, flags: set[str], what: str, work: Work | None = None) -> str:
    """``text`` (anything else is '') as a model may see it: visible, at most ``limit`` characters."""
    if not isinstance(text, str):
        return ""
    window = text[: limit * 4]  # a megabyte of hidden characters is not looked through
    if work is not None:
        work.left -= len(window)
    seen = visible(window)
    if len(seen) < len(window.replace("\r\n", "\n")):
        flags.add(f"hidden characters in {what}")
    if len(seen) > limit or len(window) < len(text):
        flags.add(f"{what} of {len(text)} characters was cut")
        seen = seen[: limit - len(_CUT)] + _CUT
    if _orders().search(seen):
        flags.add(f"{what} gives the model orders")
    return seen


def shortened(text: str, limit: int) -> str:
    """What a server says of an error, for logs, terminals and models: visible, at most ``limit`` characters."""
    seen = visible(text[: limit * 2])
    return seen if len(seen) <= limit and len(text) <= limit * 2 else seen[: limit - len(_CUT)] + _CUT


def clean_result(text: str) -> str:
    """A result's text: without terminal controls, bidirectional overrides and tags; joiners and emoji stay."""
    if text.isascii() and text.isprintable():
        return text
    return _RESULT_CONTROLS.sub("", text.replace("\r\n", "\n"))


_RESULT_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\U000e0000-\U000e0fff]"
)


def clean_schema(schema: object, flags: set[str], work: Work | None = None) -> dict[str, object]:
    """A JSON Schema for an object that no loop, size or trick of the original survives in.

    Local references stand in place, others and loops are cut to ``{}`` (anything). A schema that is still too large
    keeps only the names of its properties. Keywords that providers refuse at the top of a tool's schema go.
    """
    root = schema if isinstance(schema, Mapping) else {}
    if not isinstance(schema, Mapping):
        flags.add("the schema is no object")
    cleaner = _Cleaner(root, flags, work or Work())
    made = cleaner.schema({key: value for key, value in root.items() if key not in _NOT_AT_TOP}, 0, ())
    if root.keys() & _NOT_AT_TOP:
        flags.add("alternatives at the top of the schema were left out")
    found = made if isinstance(made, dict) else {}
    found["type"] = "object"
    properties = found.get("properties")
    found["properties"] = properties if isinstance(properties, dict) else {}
    if _size(found) > MAX_SCHEMA_CHARS:
        flags.add("the schema was too large and is reduced to names")
        names: Iterable[str] = list(found["properties"])[:MAX_CHOICES]
        return {"type": "object", "properties": {name: {} for name in names}}
    return found


class _Cleaner:
    """One schema being copied. ``root`` is what ``#/…`` refers to."""

    def __init__(self, root: Mapping[str, object], flags: set[str], work: Work) -> None:
        self._root = root
        self._flags = flags
        self._nodes = 0
        self._work = work
        self._work_end = max(0, work.left - MAX_SCHEMA_WORK)

    def schema(self, value: object, depth: int, path: tuple[str, ...]) -> object:
        """A copy of a schema; ``path`` are the references that led here."""
        if isinstance(value, bool):
            return value
        if not isinstance(value, Mapping):
            return {}
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES or self._work.left < self._work_end:
            self._flags.add("the schema was cut: too deep or too large")
            return {}
        if "$ref" in value or "$dynamicRef" in value:
            return self._reference(value, depth, path)
        return {
            key: kept
            for key, below in value.items()
            if isinstance(key, str)
            and key not in _DROPPED
            and (kept := self._keyword(key, below, depth, path)) is not _GONE
        }

    def _reference(self, value: Mapping[str, object], depth: int, path: tuple[str, ...]) -> object:
        name = value.get("$ref")
        if not isinstance(name, str) or name in path:
            self._flags.add("the schema refers to itself")
            return {}
        target = self._target(name)
        if target is None:
            self._flags.add("the schema refers to something outside itself")
            return {}
        merged = {**target, **{key: below for key, below in value.items() if key != "$ref"}}
        return self.schema(merged, depth + 1, (*path, name))

    def _target(self, name: str) -> Mapping[str, object] | None:
        """What a local reference (RFC 6901 in a fragment) points to."""
        if not name.startswith("#") or len(name) > MAX_PROPERTY_TEXT:
            return None
        place: object = self._root
        for part in name.lstrip("#").strip("/").split("/"):
            if part:
                key = part.replace("~1", "/").replace("~0", "~")
                place = place.get(key) if isinstance(place, Mapping) else None
        return place if isinstance(place, Mapping) else None

    def _keyword(self, key: str, value: object, depth: int, path: tuple[str, ...]) -> object:
        if key in _MAPS_OF_SCHEMAS:
            return self._properties(value, depth, path)
        if isinstance(value, Mapping):
            return self.schema(value, depth + 1, path)
        if isinstance(value, str):
            return clean(value, MAX_PROPERTY_TEXT, self._flags, "the schema's text", self._work)
        if isinstance(value, list):
            return self._list(value, depth, path)
        return value if isinstance(value, bool | int | float) or value is None else _GONE

    def _properties(self, value: object, depth: int, path: tuple[str, ...]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, below in value.items() if isinstance(value, Mapping) else ():
            if len(name) > MAX_PROPERTY_NAME or visible(name) != name or not name:
                self._flags.add("a property's name was refused")
            elif self._nodes <= MAX_NODES:
                found[name] = self.schema(below, depth + 1, path)
            else:
                self._flags.add("the schema was cut: too deep or too large")
                break
        return found

    def _list(self, items: list[object], depth: int, path: tuple[str, ...]) -> list[object]:
        """A keyword's list: names, choices or schemas. A text that would have to be changed is left out."""
        if len(items) > MAX_CHOICES:
            self._flags.add("a list in the schema was cut")
        found: list[object] = []
        for item in items[:MAX_CHOICES]:
            if isinstance(item, Mapping):
                found.append(self.schema(item, depth + 1, path))
            elif isinstance(item, str) and (len(item) > MAX_PROPERTY_TEXT or visible(item) != item):
                self._flags.add("hidden characters in the schema's choices")
            elif not isinstance(item, list):
                found.append(item)
        return found


class _Gone:
    """The type of _GONE."""


_GONE = _Gone()


def _size(value: object) -> int:
    import msgspec

    return len(msgspec.json.encode(value))

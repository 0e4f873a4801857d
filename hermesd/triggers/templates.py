"""Prompt templates over a webhook's payload: ``{a.b.c}``, ``{__raw__}``, ``{event_type}``.

An unknown name stays as written, braces and all. Nothing is evaluated; a value that looks like a template is text.
"""

from __future__ import annotations

import re

import msgspec

RAW_CHARS = 4000
STRUCTURE_CHARS = 2000
_NAME = re.compile(r"\{([A-Za-z_][\w-]*(?:\.[\w-]+)*)\}")


def render(template: str, payload: dict[str, object], *, event_type: str) -> str:
    """The prompt; an empty template is ``{__raw__}``."""

    def value(found: re.Match[str]) -> str:
        name = found.group(1)
        if name == "__raw__":
            return _json(payload)[:RAW_CHARS]
        if name == "event_type" and name not in payload:
            return event_type
        known, found_value = look_up(payload, name)
        return _text(found_value) if known else found.group(0)

    return _NAME.sub(value, template or "{__raw__}")


def is_template(text: str) -> bool:
    """Whether a payload would fill something in."""
    return _NAME.search(text) is not None


def look_up(payload: object, path: str) -> tuple[bool, object]:
    """Whether there is a value at a dotted path (a number is a place in a list), and the value."""
    value = payload
    for name in path.split("."):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return False, None
    return True, value


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return _json(value)[:STRUCTURE_CHARS]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()

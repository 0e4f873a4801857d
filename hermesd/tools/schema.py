"""A tool's arguments as JSON Schema: made from a struct for our tools, checked for everybody's.

The check covers the keywords that models get wrong (type, required, enum, bounds, unknown names) of JSON Schema
draft 2020-12; a keyword that is not understood here is left for the tool itself to enforce. Tools convert what passed
with ``strict=False``, because JSON Schema's integers include 2.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_DEPTH = 32
SHOWN_NAMES = 12


def parameters_of(arguments: type[msgspec.Struct]) -> dict[str, object]:
    """The JSON Schema of a struct, self-contained: nested structs stand in place, class names and docstrings go."""
    _, components = msgspec.json.schema_components([arguments], ref_template="{name}")
    schema = _inline(components[arguments.__name__], components)
    assert isinstance(schema, dict)
    return schema


def _inline(schema: object, components: Mapping[str, Mapping[str, object]]) -> object:
    if isinstance(schema, list):
        return [_inline(item, components) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _inline(components[reference], components)
    dropped = ("title", "description") if "properties" in schema else ()
    return {key: _inline(value, components) for key, value in schema.items() if key not in dropped}


def complaint(schema: Mapping[str, object], arguments: Mapping[str, object]) -> str | None:
    """What is wrong with the arguments, as one sentence the model can act on; None when nothing is."""
    return _object(schema, arguments, "the arguments", 0)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one was probably meant to be."""
    import difflib

    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def _object(schema: Mapping[str, object], value: Mapping[str, object], where: str, depth: int) -> str | None:
    properties = schema.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, Sequence) else ():
        if name not in value:
            return f"{where} lack {name!r}, which is required" if depth == 0 else f"{where} lacks {name!r}"
    for name, item in value.items():
        if name in known:
            if found := _value(known[name], item, name if depth == 0 else f"{where}.{name}", depth + 1):
                return found
        elif schema.get("additionalProperties") is False:
            return _unknown(name, list(known), where)
    return None


def _unknown(name: str, known: list[str], where: str) -> str:
    meant = nearest(name, known)
    hint = f"did you mean {meant!r}" if meant else f"known are {', '.join(known[:SHOWN_NAMES]) or 'none'}"
    return f"{where} have an unknown name {name[:80]!r}: {hint}"


def _value(schema: object, value: object, where: str, depth: int) -> str | None:
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return None
    types = schema.get("type")
    wanted = [types] if isinstance(types, str) else list(types) if isinstance(types, Sequence) else []
    if wanted and not any(_is(value, name) for name in wanted):
        return f"{where} must be {_words(wanted)}, not {_kind(value)}"
    allowed = schema.get("enum")
    if isinstance(allowed, Sequence) and value not in allowed:
        return f"{where} must be one of {', '.join(str(item) for item in allowed)}, not {str(value)[:80]!r}"
    if isinstance(value, Mapping):
        return _object(schema, value, where, depth)
    if isinstance(value, list):
        return _array(schema, value, where, depth)
    return _bounds(schema, value, where)


def _array(schema: Mapping[str, object], value: list[object], where: str, depth: int) -> str | None:
    most = schema.get("maxItems")
    if isinstance(most, int) and len(value) > most:
        return f"{where} may have at most {most} items, not {len(value)}"
    for index, item in enumerate(value):
        if found := _value(schema.get("items"), item, f"{where}[{index}]", depth + 1):
            return found
    return None


def _bounds(schema: Mapping[str, object], value: object, where: str) -> str | None:
    size: float
    if isinstance(value, str):
        least, most, size, unit = schema.get("minLength"), schema.get("maxLength"), len(value), " characters"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        least, most, size, unit = schema.get("minimum"), schema.get("maximum"), value, ""
    else:
        return None
    if isinstance(least, int | float) and size < least:
        return f"{where} must be at least {least}{unit}, not {size}"
    if isinstance(most, int | float) and size > most:
        return f"{where} may be at most {most}{unit}, not {size}"
    return None


def _is(value: object, name: str) -> bool:
    match name:
        case "integer":
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            return whole and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, Mapping)
        case "null":
            return value is None
    return True


def _kind(value: object) -> str:
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "null" if value is None else "an object")


def _words(names: list[str]) -> str:
    article = {"integer": "an integer", "array": "a list", "object": "an object", "boolean": "true or false"}
    return " or ".join(article.get(name, name if name == "null" else f"a {name}") for name in names)

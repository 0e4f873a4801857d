"""A tool's structured answer, compared with the output schema that its server has given for it.

"Clients SHOULD validate structured results against this schema" (MCP 2025-11-25, Tools, Output Schema). Schema and
answer are both the server's, and we compare on the loop: a pattern, or references that double, would stop the whole
daemon for as long as the server likes. So the keywords that say what an answer looks like are looked at (JSON Schema
2020-12: type, required, enum, const, properties, additionalProperties, items, local $ref), for so many steps; of what
is beyond them nothing is said.
"""

from __future__ import annotations

from collections.abc import Mapping

MAX_STEPS = 20_000  # some milliseconds
MAX_DEPTH = 32
_TYPES: dict[str, type] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "number": float,
    "integer": int,
}

Schema = Mapping[str, object]


def complaint(schema: Schema, answer: object) -> str:
    """What of the answer (plain data of JSON) is not as the schema says; '' when nothing is, as far as was looked."""
    return _Comparison(schema).of(schema, answer, "it", MAX_DEPTH)


class _Comparison:
    """``of`` and what it calls return the first complaint, or ''."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = MAX_STEPS

    def _spend(self, steps: int) -> bool:
        self._left -= steps
        return self._left > 0

    def of(self, schema: object, value: object, where: str, depth: int) -> str:
        if not isinstance(schema, Mapping) or not depth or not self._spend(1):
            return f"{where} is not allowed" if schema is False else ""
        found = _type(schema, value, where) or self._choice(schema, value, where)
        if not found and isinstance(schema.get("$ref"), str):
            found = self.of(self._target(str(schema["$ref"])), value, where, depth - 1)
        if not found and isinstance(value, dict):
            found = self._object(schema, value, where, depth - 1)
        if not found and isinstance(value, list) and "items" in schema and "prefixItems" not in schema:
            items = (self.of(schema["items"], item, f"{where}[{n}]", depth - 1) for n, item in enumerate(value))
            found = next((each for each in items if each or self._left <= 0), "")
        return found

    def _choice(self, schema: Schema, value: object, where: str) -> str:
        allowed = [schema["const"]] if "const" in schema else schema.get("enum")
        if not isinstance(allowed, list) or isinstance(value, dict | list) or not self._spend(len(allowed)):
            return ""
        return "" if value in allowed else f"{where} is none of the values that are allowed"

    def _object(self, schema: Schema, value: dict[str, object], where: str, depth: int) -> str:
        required = schema.get("required")
        if isinstance(required, list) and self._spend(len(required)):
            for name in required:
                if isinstance(name, str) and name not in value:
                    return f"{where} lacks {name[:80]!r}"
        known = schema.get("properties")
        known = known if isinstance(known, Mapping) else {}
        other = True if "patternProperties" in schema else schema.get("additionalProperties", True)
        for name, item in value.items():
            if self._left <= 0:
                break
            if found := self.of(known.get(name, other), item, f"{where}.{name[:80]}", depth):
                return found
        return ""

    def _target(self, name: str) -> object:
        """What a local reference (RFC 6901 in a fragment) points to; True, which allows anything, for others."""
        if name[:1] != "#" or name[1:2] not in ("", "/") or not self._spend(name.count("/")):
            return True
        place: object = self._root
        for part in name[2:].split("/") if len(name) > 2 else ():
            key = part.replace("~1", "/").replace("~0", "~")
            place = place.get(key, True) if isinstance(place, Mapping) else True
        return place


def _type(schema: Schema, value: object, where: str) -> str:
    wanted = schema.get("type")
    names = [wanted] if isinstance(wanted, str) else wanted if isinstance(wanted, list) else []
    if not names or any(_is(value, name) for name in names[: len(_TYPES)]):
        return ""
    return f"{where} is not of the type {', '.join(str(name)[:20] for name in names[: len(_TYPES)])}"


def _is(value: object, name: object) -> bool:
    if not isinstance(name, str) or name not in _TYPES:
        return True
    if name in ("number", "integer"):
        whole = name == "integer" and isinstance(value, float)
        return isinstance(value, int | float) and not isinstance(value, bool) and not (whole and value % 1)
    return isinstance(value, _TYPES[name])

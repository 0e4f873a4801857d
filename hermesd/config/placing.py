"""Putting values into a YAML document, and taking them out, where a dotted key says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesd.config.roundtrip import add, comments_of, dump, from_comments, load, remove, replace, widen
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence


def with_key(data: bytes, key: str, value: Any, where: str) -> bytes:  # noqa: ANN401 - a YAML value
    """A file's contents with a dotted key set. Raises ConfigError."""
    document = document_of(data)
    put(document, key.split("."), value, where)
    return dump(document, data)


def without_key(data: bytes, key: str) -> bytes | None:
    """A file's contents without a dotted key, and without sections that are empty then; None when it was not set."""
    document = load(data.decode("utf-8-sig")) if data.strip() else None
    if not drop(document, key.split(".")):
        return None
    return dump(document, data) if document else comments_of(data)


def document_of(data: bytes) -> Any:  # noqa: ANN401 - a YAML mapping
    """The document of a file, an empty one with its comments. Raises ConfigError."""
    document = load(data.decode("utf-8-sig")) if data.strip() else None
    return from_comments(data) if document is None else document


def put(document: Any, path: Sequence[str], value: Any, where: str) -> None:  # noqa: ANN401 - YAML values
    """Set what stands at a path, and make the sections above it. Raises ConfigError where one of them is none."""
    place = document
    *sections, last = path
    while sections:
        name = sections[0]
        below = place.get(name)
        if below is None:
            break
        if name == "model" and isinstance(below, str):
            below = widen(place, name, "default")
        if not isinstance(below, dict):
            raise ConfigError(f"{name} is no section", where=where, next_step="use config edit")
        place = below
        del sections[0]
    if sections:
        for name in reversed([*sections[1:], last]):
            value = {name: value}
        last = sections[0]
    place = _where_set(place, last)
    if place.get(last) is None:
        add(place, last, value)
    else:
        replace(place, last, value)


def drop(document: Any, path: Sequence[str], *, keep: int = 0) -> bool:  # noqa: ANN401 - a YAML mapping
    """Remove a key, and sections that are empty then but for the upper ``keep``; whether it was there."""
    places: list[tuple[Any, str]] = []
    place = document
    for name in path:
        if not isinstance(place, dict):
            return False
        place = _where_set(place, name)
        if name not in place:
            return False
        places.append((place, name))
        place = place[name]
    depth = len(places) - 1
    while depth > keep and len(places[depth][0]) == 1:
        depth -= 1
    if depth >= keep:
        remove(*places[depth])
    return True


def _where_set(place: Any, name: str) -> Any:  # noqa: ANN401 - a YAML mapping
    """A platform's settings may stand under ``extra``; there they are changed."""
    extra = place.get("extra")
    return extra if name not in place and isinstance(extra, dict) and name in extra else place

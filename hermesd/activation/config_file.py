"""config.yaml: what is declared is merged into what is there, or takes its place; the user's comments stay."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from hermesd.activation.merge import Edit, Tree, merge, normal, result, same, without_nulls
from hermesd.activation.sources import read_source
from hermesd.config import MAX_CONFIG_BYTES
from hermesd.config.plain import leaves, tree_of
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.activation.manifest import ConfigPart
    from hermesd.activation.targets import Found

CONFIG = PurePosixPath("config.yaml")
MAX_INTEGER = 2**63
_FORBIDDEN = frozenset({"", "<<"})


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """``data`` is what config.yaml is to hold (None: as it is). ``keeps_old``: the old one is kept beside it."""

    live: bytes | None
    data: bytes | None
    edits: list[Edit]
    keeps_old: bool = False


def declared_tree(part: ConfigPart, where: str) -> Tree:
    """What the manifest declares, without nulls. Raises ConfigError for what config.yaml cannot hold."""
    if part.source:
        data = read_source(part.source)
        tree: Tree = {} if data is None else without_nulls(tree_of(data, part.source))
        _check_sound(tree, part.source)
        return tree
    tree = without_nulls(part.value or {})
    _check_sound(tree, where)
    return tree


def merged(live: Found | None, applied: Sequence[Tree], declared: Tree, where: str) -> ConfigChange:
    """Declared keys win, the user's stay. Raises ConfigError with file:line when what is there cannot be read."""
    data = live.data if live else b""
    tree = tree_of(data, where)
    edits = merge(tree, applied, declared)
    if not edits:
        return ConfigChange(live.data if live else None, None, [])
    wanted = result(tree, edits)
    new = _edited(data, edits)
    if new is not None and _reads_as(new, wanted, where):
        return ConfigChange(live.data if live else None, new, edits)
    return ConfigChange(data, _written(wanted), edits, keeps_old=True)


def replaced(live: Found | None, applied: Sequence[str], part: ConfigPart, declared: Tree, where: str) -> ConfigChange:
    """What is declared and nothing else. What somebody has changed there (it is not ``applied``) is kept beside.

    ``applied``: the digests of what was put there last.
    """
    source = read_source(part.source) if part.source else None
    new = _written(declared) if source is None else source
    if len(new) > MAX_CONFIG_BYTES:
        raise ConfigError(f"would be larger than {MAX_CONFIG_BYTES} bytes", where=where, next_step="declare less")
    if live is not None and live.data == new:
        return ConfigChange(live.data, None, [])
    try:
        tree = normal(tree_of(live.data, where)) if live else {}
    except ConfigError:
        tree = {}
    before, after = dict(leaves(tree)), dict(leaves(normal(declared)))
    paths = [path for path in (before | after) if not same(before.get(path), after.get(path))]
    edits = [Edit(path, before.get(path), after.get(path)) for path in paths]
    is_changed = live is not None and bool(live.data.strip()) and digest(live.data) not in applied
    return ConfigChange(live.data if live else None, new, edits, keeps_old=is_changed)


def digest(data: bytes) -> str:
    """What is remembered of a file: enough to tell whether it was changed."""
    return hashlib.sha256(data).hexdigest()


def _check_sound(tree: Any, where: str, path: str = "") -> None:  # noqa: ANN401 - plain data
    """Raise ConfigError unless YAML has a way to write it that is read as it was meant."""
    if isinstance(tree, dict):
        for name, below in tree.items():
            at = f"{path}.{name}" if path else str(name)
            if name in _FORBIDDEN or not name.isprintable():
                raise ConfigError(f"config: {at[:80]!r} cannot be a key", where=where, next_step="rename it")
            _check_sound(below, where, at)
    elif isinstance(tree, list):
        for below in tree:
            _check_sound(below, where, path)
    elif isinstance(tree, str):
        if any("\ud800" <= char <= "\udfff" for char in tree):
            raise ConfigError(f"config: {path[:80]} is no text", where=where, next_step="correct it")
    elif abs(tree) >= MAX_INTEGER if isinstance(tree, int) else not math.isfinite(tree):
        raise ConfigError(f"config: {path[:80]} is too large a number", where=where, next_step="write it as text")


def _edited(data: bytes, edits: Sequence[Edit]) -> bytes | None:
    """By a round trip that keeps comments and order; None where the file's own structure stands in the way."""
    from hermesd.config.roundtrip import dump, from_comments, load

    try:
        document = load(data.decode("utf-8-sig")) if data.strip() else None
        document = from_comments(data) if document is None else document
        for edit in edits:
            _edit(document, edit)
    except (ConfigError, KeyError, ValueError):
        return None
    return dump(document, data) if document else _comments(data)


def _edit(document: Any, edit: Edit) -> None:  # noqa: ANN401 - a YAML mapping
    from hermesd.config.roundtrip import add, remove, replace, unambiguous, widen

    place = document
    *sections, last = edit.path
    for name in sections:
        key = _key(place, name)
        place = widen(place, key, "default") if name == "model" and isinstance(place[key], str) else place[key]
    if edit.after is None:
        remove(place, _key(place, last))
    elif last in place:
        replace(place, last, unambiguous(edit.after))
    else:
        add(place, last, unambiguous(edit.after))


def _key(place: Any, name: str) -> Any:  # noqa: ANN401 - a YAML key, which may be a number
    """The key that is written like this. Raises KeyError."""
    for key in place:
        if key == name or str(key) == name:
            return key
    raise KeyError(name)


def _comments(data: bytes) -> bytes:
    """What is left of a file when its last key is gone."""
    lines = data.decode("utf-8-sig").splitlines(keepends=True)
    return "".join(line for line in lines if line.lstrip().startswith("#")).encode()


def _written(tree: Tree) -> bytes:
    from hermesd.config.roundtrip import add, dump, from_comments, unambiguous

    document = from_comments(b"")
    for name, value in tree.items():
        add(document, name, unambiguous(value))
    return dump(document, b"") if tree else b""


def _reads_as(data: bytes, wanted: Tree, where: str) -> bool:
    try:
        return same(normal(tree_of(data, where)), wanted)
    except ConfigError:
        return False

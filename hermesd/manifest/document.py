"""Manifests as text: YAML with line numbers, read strictly.

version: 1
name: team                  # whose entries these are; of what another name has applied nothing is touched
profile: work               # the profile of entries that name none
jobs: {NAME: {schedule: …, prompt: …}}
profiles: {NAME: {description: …, jobs: {…}}}       # entries may also stand below their profile
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from hermesd.config.document import Mapping, Node, Scalar, Sequence, parse
from hermesd.config.scalars import plain_value, to_value
from hermesd.config.shape import Shape, shape_of
from hermesd.errors import ConfigError
from hermesd.home import DEFAULT_PROFILE
from hermesd.manifest.entry import Entry, Key

if TYPE_CHECKING:
    import collections.abc

    from hermesd.manifest.merge import Fields

VERSION = "1"
DEFAULT_NAME = "routines"
PROFILES = "profiles"
MAX_FILES = 100
MAX_BYTES = 8 * 1024 * 1024  # of all files of a call
MAX_ENTRIES = 10_000
MAX_NAME = 100
MAX_VISITS = 20_000  # values in trees of a file, aliases written out
_HEAD = ("version", "name", "profile")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)
NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f/]")


class Source(NamedTuple):
    """A file by the name that its reader knows it by."""

    name: str
    text: str


@dataclass(slots=True)
class Manifest:
    """What files of one call declare together."""

    name: str = DEFAULT_NAME
    entries: dict[Key, Entry] = field(default_factory=dict)


def read(
    sources: collections.abc.Sequence[Source], shapes: collections.abc.Mapping[str, Shape], *, profile: str = ""
) -> Manifest:
    """Read files under the shapes of the sections. ``profile`` is that of files that name none. Raises ConfigError."""
    if not sources or len(sources) > MAX_FILES:
        raise ConfigError(f"{len(sources)} files are given", next_step=f"give 1 to {MAX_FILES} with -f")
    if sum(len(source.text) for source in sources) > MAX_BYTES:
        raise ConfigError(f"the files have more than {MAX_BYTES} characters", next_step="split them by `name:`")
    manifest = Manifest("")
    for source in sources:
        _File(source, shapes, manifest, profile).read()
    return manifest


def entry_shape(struct: type[msgspec.Struct], *, without: tuple[str, ...] = (), **more: Any) -> Shape:  # noqa: ANN401 - types
    """The shape of an entry whose fields are a struct's; ``X | None`` there means X."""
    import types
    from typing import Union, get_args, get_origin

    fields: dict[str, Shape] = {}
    for row in msgspec.structs.fields(struct):
        annotation = row.type
        if get_origin(annotation) in (types.UnionType, Union):  # a Literal's union is typing's own
            kinds = [each for each in get_args(annotation) if each is not type(None)]
            annotation = kinds[0] if len(kinds) == 1 else annotation
        if row.name not in without:
            fields[row.name] = shape_of(annotation)
    fields |= {name: shape_of(annotation) for name, annotation in more.items()}
    return Shape("section", fields=fields)


class _File:
    """One pass over one file."""

    def __init__(
        self, source: Source, shapes: collections.abc.Mapping[str, Shape], manifest: Manifest, profile: str
    ) -> None:
        self._source = source.name[:200]
        self._text = source.text
        self._shapes = shapes
        self._manifest = manifest
        self._profile = profile
        self._visits = 0

    def read(self) -> None:
        try:
            document = parse(self._text.encode("utf-8", "replace"), self._source)
        except ConfigError as error:
            error.next_step = error.next_step.replace("correct it with `hermesctl config edit`", "correct it")
            raise
        self._head(document)
        for section in self._known(document, [*_HEAD, *self._shapes], "the top level"):
            if section not in _HEAD:
                self._section(section, document.values[section], self._profile, document.key_lines[section])

    def _head(self, document: Mapping) -> None:
        version = document.values.get("version")
        if not isinstance(version, Scalar) or version.text != VERSION:
            line = document.key_lines.get("version", 1)
            raise self._error("this is no manifest of version 1", line, f"begin the file with `version: {VERSION}`")
        name = self._word(document, "name") or DEFAULT_NAME
        if not _NAME.fullmatch(name):
            raise self._error("name is not a name", document.key_lines["name"], "use letters, digits, . - and _")
        if self._manifest.name not in ("", name):
            what = f"this file is of {name!r}, the one before of {self._manifest.name!r}"
            raise self._error(what, document.key_lines.get("name", 1), "apply them one after the other")
        self._manifest.name = name
        self._profile = self._word(document, "profile") or self._profile or DEFAULT_PROFILE

    def _word(self, node: Mapping, key: str) -> str:
        found = node.values.get(key)
        if found is None:
            return ""
        if not isinstance(found, Scalar) or found.is_null:
            raise self._error(f"{key} must be a word", node.key_lines[key], f"write {key}: NAME")
        return found.text

    def _section(self, section: str, node: Node, profile: str, line: int) -> None:
        if isinstance(node, Scalar) and node.is_null:
            return
        if not isinstance(node, Mapping):
            raise self._error(f"{section} must be a mapping of names", line, "write NAME: and its fields below")
        for name, below in node.values.items():
            at = node.key_lines[name]
            if not name or len(name) > MAX_NAME or name != name.strip() or NOT_IN_NAMES.search(name):
                raise self._error(f"{name[:80]!r} is no name", at, f"use 1 to {MAX_NAME} printable characters, no /")
            self._entry(section, name, below, profile, at)

    def _entry(self, section: str, name: str, node: Node, profile: str, line: int) -> None:
        shape = self._shapes[section]
        if isinstance(node, Scalar) and node.is_null:
            node = Mapping(line)
        if not isinstance(node, Mapping):
            raise self._error(f"{section}.{name} must be a mapping of keys", line, "write its fields below it")
        nested = [each for each in self._shapes if each != PROFILES] if section == PROFILES else ["profile"]
        self._known(node, [*shape.fields, *nested], f"{section}.{name}")
        if section == PROFILES:
            profile = name
            for each in nested:
                if each in node.values:
                    self._section(each, node.values[each], name, node.key_lines[each])
        else:
            profile = self._word(node, "profile") or profile
        key = Key(section, profile, name)
        if key in self._manifest.entries:
            first = self._manifest.entries[key].where
            raise self._error(f"{section}.{name} is declared twice (first at {first})", line, "keep one of them")
        if len(self._manifest.entries) >= MAX_ENTRIES:
            raise self._error(f"there are more than {MAX_ENTRIES} entries", line, "split the files by `name:`")
        lines: dict[str, str] = {}
        fields = self._fields(node, shape, "", lines, skip=nested)
        self._manifest.entries[key] = Entry(key, fields, f"{self._source}:{line}", lines)

    # -- fields --------------------------------------------------------------------------------------------------------

    def _fields(self, node: Mapping, shape: Shape, path: str, lines: dict[str, str], skip: list[str]) -> Fields:
        """Flat: sections and maps within become ``a.b``."""
        found: Fields = {}
        if shape.kind == "section":
            self._known(node, [*shape.fields, *skip], path or "an entry")
        for name, below in node.values.items():
            if name in skip:
                continue
            line = node.key_lines[name]
            under = shape.fields[name] if shape.kind == "section" else shape.item
            assert under is not None
            if shape.kind == "map" and ("." in name or not name.isprintable()):
                raise self._error(f"{name[:80]!r} cannot be a name here", line, "use a name without dots")
            full = f"{path}.{name}" if path else name
            lines[full] = f"{self._source}:{line}"
            if isinstance(below, Scalar) and below.is_null:
                continue
            if under.kind in ("section", "map"):
                if not isinstance(below, Mapping):
                    raise self._error(f"{full} must be {under.expected}", line, "write its fields below it")
                found |= self._fields(below, under, full, lines, [])
            else:
                found[full] = self._value(below, under, full, line)
        return found

    def _value(self, node: Node, shape: Shape, path: str, line: int) -> Any:  # noqa: ANN401 - plain data
        if shape.kind == "list":
            assert shape.item is not None
            if isinstance(node, Mapping) and shape.item.kind == "tree":
                node = Sequence(line, [node])  # as in config.yaml: one condition in place of a list of one
            if isinstance(node, Scalar) and shape.item.kind == "scalar":
                node = Sequence(line, [Scalar(word.strip(), line) for word in node.text.split(",") if word.strip()])
            if not isinstance(node, Sequence):
                raise self._error(f"{path} must be a list", line, "write [a, b]")
            return [self._value(item, shape.item, path, item.line) for item in node.items]
        if shape.kind == "tree":
            return self._tree(node, path, line)
        if not isinstance(node, Scalar):
            raise self._error(f"{path} must be {shape.expected}", line, "correct it")
        try:
            return to_value(node.text, shape, plain=node.plain)
        except ValueError as error:
            raise self._error(f"{path} must be {error}", node.line, "correct it") from None

    def _tree(self, node: Node, path: str, line: int) -> Any:  # noqa: ANN401 - plain data
        """Whatever stands there, as in config.yaml: no nulls, and plain words may be numbers and truth values."""
        self._visits += 1  # a few anchors within anchors are many values
        if self._visits > MAX_VISITS:
            raise self._error(f"{path} holds more than {MAX_VISITS} values", line, "make it smaller")
        if isinstance(node, Mapping):
            below = {name: each for name, each in node.values.items() if not _is_null(each)}
            return {name: self._tree(each, path, line) for name, each in below.items()}
        if isinstance(node, Sequence):
            return [self._tree(item, path, line) for item in node.items if not _is_null(item)]
        return plain_value(node.text) if node.plain else node.text

    def _known(self, node: Mapping, known: collections.abc.Sequence[str], where: str) -> list[str]:
        for name in node.values:
            if name not in known:
                near = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.6)
                step = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
                raise self._error(f"unknown key {name[:80]!r} in {where}", node.key_lines[name], step)
        return list(node.values)

    def _error(self, what: str, line: int, next_step: str) -> ConfigError:
        return ConfigError(what, where=f"{self._source}:{line}", next_step=next_step)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_null

"""YAML text as a tree that knows its lines, read from libyaml's events under bounds.

Nothing is constructed: scalars stay text, so ``no``, ``off`` and ``1.10`` are what the file says until the schema asks
for something else (https://yaml.org/spec/1.1/, chapter 4; PyYAML's resolver is not used). Every bound is checked while
the events come in, so that no input costs more than parsing a config of the largest size that is allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from hermesd.config import MAX_CONFIG_BYTES
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Event = Any  # the stubs of PyYAML know neither tag nor anchor of an event, and a mark may be None by them

MAX_DEPTH = 64
MAX_NODES = 5_000
MAX_MERGED = 5_000  # pairs that `<<` may add in a whole file

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_CORE = "tag:yaml.org,2002:"
_CORE_TAGS = frozenset({_CORE + name for name in ("str", "int", "float", "bool", "null", "map", "seq")})


class Scalar(msgspec.Struct):
    """A word as it is written. ``plain``: without quotes, so it may mean a number, a truth value or nothing."""

    text: str
    line: int
    plain: bool = True

    @property
    def is_null(self) -> bool:
        """Whether it stands for no value."""
        return self.plain and self.text in _NULLS


class Sequence(msgspec.Struct):
    """A list."""

    line: int
    items: list[Node] = msgspec.field(default_factory=list)


class Mapping(msgspec.Struct):
    """Keys in the order of the file; ``key_lines`` says where each stands."""

    line: int
    values: dict[str, Node] = msgspec.field(default_factory=dict)
    key_lines: dict[str, int] = msgspec.field(default_factory=dict)


Node = Scalar | Sequence | Mapping


def parse(data: bytes, source: str) -> Mapping:
    """The document's mapping; an empty document is an empty one.

    ``source`` names the file in errors. Raises ConfigError with file:line for everything that is no plain, finite,
    single YAML document of maps, lists and scalars.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"is larger than {MAX_CONFIG_BYTES} bytes", where=source, next_step="make it smaller")
    text = _decode(data, source)
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer(yaml.parse(text, Loader=loader), source).document()
    except yaml.reader.ReaderError as error:
        line = data[: error.position].count(b"\n") + 1
        raise ConfigError(
            "holds a control character", where=f"{source}:{line}", next_step="remove it, or write it as an escape"
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}" if mark else source
        raise ConfigError(f"is not YAML: {error.problem or error.context}", where=where, next_step=_EDIT) from None


_EDIT = "correct it with `hermesctl config edit`"


def _decode(data: bytes, source: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError("is not UTF-8", where=f"{source}:{line}", next_step="save it as UTF-8") from None


class _Composer:
    """Events to nodes. An alias is the anchored node itself, not a copy."""

    def __init__(self, stream: Iterator[Event], source: str) -> None:
        from yaml import events

        self._events = events
        self._stream = stream
        self._source = source
        self._anchors: dict[str, Node] = {}
        self._open: set[str] = set()
        self._nodes = 0
        self._merged = 0

    def document(self) -> Mapping:
        root: Node | None = None
        for event in self._stream:
            if isinstance(event, self._events.DocumentStartEvent):
                if root is not None:
                    self._refuse("a second document begins", event, "keep one document in the file")
                root = self._node(next(self._stream), 0)
        if root is None or (isinstance(root, Scalar) and root.is_null):
            return Mapping(1)
        if not isinstance(root, Mapping):
            raise ConfigError("is not a mapping of keys", where=f"{self._source}:{root.line}", next_step=_EDIT)
        return root

    def _node(self, event: Event, depth: int) -> Node:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._refuse(f"holds more than {MAX_NODES} values", event, "make it smaller")
        if depth > MAX_DEPTH:
            self._refuse(f"is nested more than {MAX_DEPTH} levels deep", event, _EDIT)
        if isinstance(event, self._events.AliasEvent):
            return self._alias(event)
        if event.tag not in (None, "!") and event.tag not in _CORE_TAGS:
            self._refuse(f"the tag {event.tag[:60]!r} is not allowed", event, "write the value without a tag")
        anchor = event.anchor
        if anchor:
            self._open.add(anchor)
        node = self._value(event, depth)
        if anchor:
            self._open.discard(anchor)
            self._anchors[anchor] = node
        return node

    def _value(self, event: Event, depth: int) -> Node:
        line = event.start_mark.line + 1
        if isinstance(event, self._events.ScalarEvent):
            return Scalar(event.value, line, plain=not event.style and event.tag != "!" and event.tag != _CORE + "str")
        if isinstance(event, self._events.SequenceStartEvent):
            items: list[Node] = []
            while not isinstance(event := next(self._stream), self._events.SequenceEndEvent):
                items.append(self._node(event, depth + 1))
            return Sequence(line, items)
        return self._mapping(line, depth)

    def _mapping(self, line: int, depth: int) -> Mapping:
        found = Mapping(line)
        merges: list[tuple[Node, Event]] = []
        while not isinstance(event := next(self._stream), self._events.MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(key, Scalar):
                self._refuse("a key is not a word", event, _EDIT)
            value = self._node(next(self._stream), depth + 1)
            if key.plain and key.text == "<<":
                merges.append((value, event))
                continue
            if key.text in found.values:
                first = found.key_lines[key.text]
                self._refuse(f"{key.text[:80]!r} is set twice (first on line {first})", event, "keep one of them")
            found.values[key.text] = value
            found.key_lines[key.text] = key.line
        for value, event in merges:
            self._merge(found, value, event)
        return found

    def _merge(self, into: Mapping, value: Node, event: Event) -> None:
        """``<<``: keys that are not there yet (https://yaml.org/type/merge.html)."""
        for source in value.items if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                self._refuse("`<<` does not name a mapping", event, _EDIT)
            self._merged += len(source.values)
            if self._merged > MAX_MERGED:
                self._refuse(f"`<<` adds more than {MAX_MERGED} values", event, "make it smaller")
            for key, node in source.values.items():
                if key not in into.values:
                    into.values[key] = node
                    into.key_lines[key] = source.key_lines[key]

    def _alias(self, event: Event) -> Node:
        if event.anchor in self._open:
            self._refuse(f"*{event.anchor[:40]} stands inside what it names", event, "write the value out")
        if event.anchor not in self._anchors:
            self._refuse(f"nothing is called &{event.anchor[:40]}", event, "write the value out")
        return self._anchors[event.anchor]

    def _refuse(self, what: str, event: Event, next_step: str) -> NoReturn:
        raise ConfigError(what, where=f"{self._source}:{event.start_mark.line + 1}", next_step=next_step)

"""A parsed config.yaml under the schema: plain data for msgspec, with every problem and notice at its file:line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hermesd.config import foreign, home_channel, schema
from hermesd.config.document import Mapping, Scalar, Sequence
from hermesd.config.interpolate import FREE_TEXT, UnresolvedError, interpolate
from hermesd.config.scalars import plain_value, to_value
from hermesd.config.secret_keys import is_secret
from hermesd.config.shape import Shape, shape_of
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    import collections.abc

    from hermesd.config.document import Node

PLATFORMS = frozenset(
    type(getattr(schema.PlatformsConfig(), name)) for name in schema.PlatformsConfig.__struct_fields__
)
_TREE = Shape("tree")
MAX_VISITS = 5_000  # values, each counted as often as aliases repeat it
MAX_PROBLEMS = 20
MAX_WORDS = 1000  # of a list written as one text with commas
MAX_INTERPOLATED = 1024 * 1024  # characters that references add in a whole file


class _Absent:
    """The type of ABSENT."""


ABSENT: Final = _Absent()
"""No value: the schema's default applies."""


class Reading:
    """One pass over a document. ``lines`` maps every dotted key that is set to its line."""

    def __init__(self, source: str, secrets: collections.abc.Mapping[str, str]) -> None:
        self.source = source
        self.problems: list[ConfigError] = []
        self.notices: list[str] = []
        self.lines: dict[str, int] = {}
        self.literal_secrets: list[str] = []
        self._secrets = secrets
        self._visits = 0
        self._interpolated = 0

    def read(self, document: Mapping) -> dict[str, Any]:
        """Data that ``msgspec.convert`` takes for a Config; what is wrong is left out and stands in ``problems``."""
        value = self._section(document, shape_of(schema.Config), "", 1)
        return value if isinstance(value, dict) else {}

    def where(self, key: str) -> str:
        """file:line of a key, or of the nearest one above it that is set."""
        while key and key not in self.lines:
            key = key.rpartition(".")[0] if not key.endswith("]") else key.rpartition("[")[0]
        return f"{self.source}:{self.lines[key]}" if key else self.source

    def problem(self, what: str, line: int, next_step: str) -> None:
        """Note what is wrong on a line. Raises ConfigError when there is no end of it."""
        error = ConfigError(what, where=f"{self.source}:{line}", next_step=next_step)
        if len(self.problems) >= MAX_PROBLEMS:
            raise error
        self.problems.append(error)

    def notice(self, what: str, line: int) -> None:
        """Note what is accepted without effect."""
        self.notices.append(f"{self.source}:{line}: {what}")

    # -- by shape ------------------------------------------------------------------------------------------------------

    def _value(self, node: Node, shape: Shape, key: str, line: int) -> Any:  # noqa: ANN401 - plain data
        self._visits += 1
        if self._visits > MAX_VISITS:
            raise ConfigError(
                f"holds more than {MAX_VISITS} values", where=f"{self.source}:{line}", next_step="make it smaller"
            )
        self.lines[key] = line
        if isinstance(node, Scalar) and node.is_null:
            return ABSENT
        if shape.kind == "section":
            return self._section(node, shape, key, line)
        if shape.kind == "map":
            return self._map(node, shape, key, line)
        if shape.kind == "list":
            return self._list(node, shape, key, line)
        if shape.kind == "tree":
            return self._tree(node, key, line)
        return self._scalar(node, shape, key, line)

    def _section(self, node: Node, shape: Shape, key: str, line: int) -> Any:  # noqa: ANN401 - plain data
        struct = shape.struct
        assert struct is not None
        node = self._prepared(node, struct, key)
        if not isinstance(node, Mapping):
            return self._mismatch(node, shape, key, line)
        found: dict[str, Any] = {}
        for name, below in node.values.items():
            at = node.key_lines[name]
            field = name if name in shape.fields else foreign.ALIASES.get(struct, {}).get(name, "")
            path = f"{key}.{field or name}" if key else field or name
            if not field:
                self._unknown(name, struct, shape, path, at)
            elif field in found:
                self.problem(f"{path} is set twice, also as {name!r}", at, "keep one of them")
            elif (value := self._value(below, shape.fields[field], path, at)) is not ABSENT:
                found[field] = value
        return found

    def _map(self, node: Node, shape: Shape, key: str, line: int) -> Any:  # noqa: ANN401 - plain data
        if not isinstance(node, Mapping):
            return self._mismatch(node, shape, key, line)
        assert shape.item is not None
        found = {}
        for name, below in node.values.items():
            value = self._value(below, shape.item, f"{key}.{name}", node.key_lines[name])
            if value is ABSENT and shape.item.kind == "section":
                value = {}
            if value is not ABSENT:
                found[name] = value
        return found

    def _list(self, node: Node, shape: Shape, key: str, line: int) -> Any:  # noqa: ANN401 - plain data
        assert shape.item is not None
        if isinstance(node, Scalar) and shape.item.kind == "scalar":
            words = [word.strip() for word in node.text.split(",", MAX_WORDS)]
            if len(words) > MAX_WORDS:
                self.problem(f"{key} lists more than {MAX_WORDS} words", line, "make it shorter")
                return ABSENT
            node = Sequence(node.line, [Scalar(word, node.line) for word in words if word])
        if isinstance(node, Mapping) and shape.item.kind == "tree":
            node = Sequence(node.line, [node])  # one condition in place of a list of one
        if not isinstance(node, Sequence):
            return self._mismatch(node, shape, key, line)
        found = []
        for index, item in enumerate(node.items):
            value = self._value(item, shape.item, f"{key}[{index}]", item.line)
            if value is not ABSENT:
                found.append(value)
        return found

    def _tree(self, node: Node, key: str, line: int) -> Any:  # noqa: ANN401 - plain data
        """Whatever stands there; words without quotes are numbers and truth values where they look so."""
        if isinstance(node, Mapping):
            below = ((name, self._value(each, _TREE, f"{key}.{name}", line)) for name, each in node.values.items())
            return {name: value for name, value in below if value is not ABSENT}
        if isinstance(node, Sequence):
            items = (self._value(each, _TREE, f"{key}[{at}]", each.line) for at, each in enumerate(node.items))
            return [value for value in items if value is not ABSENT]
        return plain_value(node.text) if node.plain else node.text

    def _scalar(self, node: Node, shape: Shape, key: str, line: int) -> Any:  # noqa: ANN401 - plain data
        if not isinstance(node, Scalar):
            return self._mismatch(node, shape, key, line)
        text = node.text
        if key.rpartition(".")[2] not in FREE_TEXT:
            try:
                text = interpolate(text, self._secrets)
                self._interpolated += len(text) if text != node.text else 0
                if self._interpolated > MAX_INTERPOLATED:
                    raise ConfigError(
                        f"references add more than {MAX_INTERPOLATED} characters",
                        where=f"{self.source}:{node.line}",
                        next_step="use fewer of them",
                    )
            except UnresolvedError as error:
                self.problem(f"{key}: {error}", node.line, error.next_step)
                return ABSENT
        if text and text == node.text and is_secret(key):
            self.literal_secrets.append(key)
        try:
            return to_value(text, shape, plain=node.plain)
        except ValueError:
            return self._mismatch(node, shape, key, line)

    # -- what does not fit ---------------------------------------------------------------------------------------------

    def _mismatch(self, node: Node, shape: Shape, key: str, line: int) -> _Absent:
        import difflib

        if isinstance(node, Scalar):
            given = "a value that is not shown" if is_secret(key) else repr(node.text[:60])
        else:
            given = "a list" if isinstance(node, Sequence) else "a mapping"
        near = difflib.get_close_matches(node.text, shape.choices, n=1) if isinstance(node, Scalar) else []
        name = key or "config.yaml"
        next_step = f"did you mean {near[0]!r}?" if near else f"give {name} {shape.expected}"
        self.problem(f"{name} must be {shape.expected}, not {given}", line, next_step)
        return ABSENT

    def _unknown(self, name: str, struct: type[schema.Section], shape: Shape, path: str, line: int) -> None:
        known = foreign.KNOWN.get(struct, frozenset())
        if name in known:
            instead = foreign.RENAMED.get((struct, name))
            self.notice(f"{path} has no effect here" + (f"; use {instead}" if instead else ""), line)
            return
        import difflib

        near = difflib.get_close_matches(name[:64], [*shape.fields, *known], n=1, cutoff=0.5)
        place = path.rpartition(".")[0] or "the top level"
        choices = ", ".join(shape.fields) if len(shape.fields) <= 16 else "see `hermesctl config schema`"
        next_step = f"did you mean {near[0]!r}?" if near else f"known keys: {choices}"
        self.problem(f"unknown key {name[:80]!r} in {place}", line, next_step)

    # -- forms that hermes-agent allows --------------------------------------------------------------------------------

    def _prepared(self, node: Node, struct: type[schema.Section], key: str) -> Node:
        if struct is schema.ModelConfig and isinstance(node, Scalar):
            return Mapping(node.line, {"default": node}, {"default": node.line})
        if not isinstance(node, Mapping):
            return node
        if struct is schema.ModelConfig and "key_env" in node.values:
            return self._with_key_from_env(node, key)
        if struct in PLATFORMS and "extra" in node.values:
            node = self._with_extra(node, key)
        if struct in PLATFORMS and isinstance(home := node.values.get("home_channel"), Mapping):
            return self._with_home(node, home, key)
        if struct is schema.TerminalConfig and isinstance(cwd := node.values.get("cwd"), Scalar) and cwd.text == ".":
            return _with(node, "cwd", Scalar("", cwd.line))  # of a daemon, "here" is the profile's workspace
        if struct is schema.McpServerConfig and isinstance(policy := node.values.get("lifecycle"), Mapping):
            self.notice(f"{key}.lifecycle has no effect here as a section; use eager or lazy", policy.line)
            return _without(node, "lifecycle")
        if struct is schema.WebhookRoute and (narrowing := sorted(foreign.NARROWING & node.values.keys())):
            return self._disabled(node, narrowing, key)
        return node

    def _disabled(self, node: Mapping, narrowing: list[str], key: str) -> Mapping:
        """A route that held events back in a way that does not exist here would let too much pass."""
        line = node.key_lines[narrowing[0]]
        self.notice(f"{key} is kept disabled, because {narrowing[0]} has no effect here", line)
        for name in narrowing:
            node = _without(node, name)
        return _with(node, "enabled", Scalar("false", line))

    def _with_key_from_env(self, node: Mapping, key: str) -> Mapping:
        """``key_env: NAME`` means ``api_key: ${NAME}``; an ``api_key`` beside it wins."""
        name = node.values["key_env"]
        line = node.key_lines["key_env"]
        rest = _without(node, "key_env")
        if not isinstance(name, Scalar) or not name.text.isidentifier():
            self.problem(f"{key}.key_env must be the name of a variable", line, "give the name that .env sets")
            return rest
        return (
            rest if "api_key" in rest.values else _with(rest, "api_key", Scalar(f"${{{name.text}}}", line, plain=False))
        )

    def _with_home(self, node: Mapping, home: Mapping, key: str) -> Mapping:
        try:
            return _with(node, "home_channel", home_channel.as_text(home, key.rpartition(".")[2]))
        except ValueError as error:
            what, next_step = error.args
            self.problem(f"{key}.home_channel {what}", home.line, next_step)
            return _without(node, "home_channel")

    def _with_extra(self, node: Mapping, key: str) -> Mapping:
        """Settings under ``extra`` are as good as those beside ``enabled``; the same one in both places is refused."""
        extra = node.values["extra"]
        merged = _without(node, "extra")
        if isinstance(extra, Scalar) and extra.is_null:
            return merged
        if not isinstance(extra, Mapping):
            self.problem(f"{key}.extra must be a mapping of keys", extra.line, "write its settings below it")
            return merged
        for name in extra.values.keys() & node.values.keys():
            self.problem(f"{key}.{name} is set twice, also under extra", extra.key_lines[name], "keep one of them")
        return Mapping(node.line, {**merged.values, **extra.values}, {**merged.key_lines, **extra.key_lines})


def _with(node: Mapping, name: str, value: Node) -> Mapping:
    """A copy, because aliases share nodes."""
    return Mapping(node.line, {**node.values, name: value}, {name: value.line, **node.key_lines})


def _without(node: Mapping, name: str) -> Mapping:
    values = {key: value for key, value in node.values.items() if key != name}
    return Mapping(node.line, values, node.key_lines)

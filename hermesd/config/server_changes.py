"""Settings of MCP servers as they are written: every secret a variable of .env, whichever command sets them.

The server's name is in the variable's unless another one says what it is; ``server_secrets`` says what is a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from hermesd.config.document import Mapping, Node, Scalar, Sequence, parse
from hermesd.config.environment_keys import COMPLETED_BY, VARIABLES
from hermesd.config.scalars import plain_value
from hermesd.config.secret_keys import KNOWN
from hermesd.config.server_secrets import HIDDEN_MAPS, REFERENCE, holds_user
from hermesd.config.server_variables import Keeper, is_of_server, references
from hermesd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from collections.abc import Mapping as MappingOf

SECTION = "mcp_servers"
_TEXTS = HIDDEN_MAPS | {"args"}
"""Whatever stands in these is a text: a PIN keeps its leading zeros."""
_INSTEAD = {"url": ("command", "args"), "command": ("url",)}
"""A server is a program or an address: what goes when the other is set."""

_READ = frozenset({*VARIABLES, *COMPLETED_BY.values(), *KNOWN.values()})
"""Variables that stand for keys by themselves."""

_NAMED = rb"\b%b\b(?![\"']?[ \t]*:)"
"""A variable's name, but for a key: what a program calls it is no reference."""

Path = tuple[str, ...]
IsRead = Callable[[str, bool], bool]
"""Whether something that config.yaml does not tell of may read a variable; and if it bears the server's name?"""


class Prepared(NamedTuple):
    """``values`` in the order of the settings, ``variables`` for .env; at the ``dropped`` paths nothing may stay."""

    values: list[Any]
    variables: dict[str, str]
    dropped: list[Path]


def is_of_servers(key: str) -> bool:
    """Whether a dotted key is ``mcp_servers`` or below it."""
    return key.partition(".")[0] == SECTION


def plain_of(key: str, text: str) -> Any:  # noqa: ANN401 - plain data
    """YAML for a dotted key as plain data, with texts where the servers' settings are texts.

    Raises ConfigError, which holds nothing of the text.
    """
    parts = key.split(".")
    try:
        values = parse(f"{{value: {text}\n}}".encode(), key).values
    except ConfigError as error:
        error.where, error.next_step = "", "quote it, or use `hermesctl config edit`"
        raise
    if list(values) != ["value"]:
        raise ConfigError("is not YAML: a bracket is closed too early", next_step="quote it")
    return _plain(values["value"], is_text=any(part in _TEXTS for part in parts[2:3]), depth=len(parts))


def prepare(tree: dict[str, Any], known: MappingOf[str, str], settings: Iterable[tuple[str, Any]]) -> Prepared:
    """What to write so that ``settings`` (dotted keys with plain data) are in force.

    ``tree`` is config.yaml as it is, ``known`` are the variables of .env. Raises UsageError for what cannot be kept.
    """
    found = Prepared([], {}, [])
    work = _Preparation(tree, known, found.variables)
    placed = [(tuple(key.split(".")), value) for key, value in settings]
    _check_one_kind([path for path, value in placed if value])
    for path, value in placed:
        found.values.append(work.without_secrets(path, value, at(tree, path)))
        for other in _INSTEAD.get(path[-1], ()) if len(path) == 3 and value else ():
            if at(tree, beside := (*path[:2], other)) and not dict(placed).get(beside):
                found.dropped.append(beside)
    return found


def unneeded(
    tree: dict[str, Any], paths: Iterable[Path], config: bytes, env: bytes, is_read: IsRead
) -> tuple[list[str], list[str]]:
    """Variables that only what stood at ``paths`` of ``tree`` referred to: those that may go, and those that may not.

    ``config`` is what config.yaml becomes. One that is named there in any way, be it in a list of what is passed on or
    in a comment, is neither. ``is_read`` is asked about the others.
    """
    gone: list[str] = []
    left: list[str] = []
    for path in paths:
        below = at(tree, path)
        servers = path[1:2] or (list(below) if isinstance(below, dict) else [])
        for name in dict.fromkeys(references(below)):
            if name in (*gone, *left) or re.search(_NAMED % name.encode(), config):
                continue
            is_own = any(is_of_server(name, server) for server in servers)
            is_needed = name in _READ or f"${{{name}".encode() in env or is_read(name, is_own)
            (left if is_needed else gone).append(name)
    return gone, left


def at(tree: object, path: Iterable[str]) -> Any:  # noqa: ANN401 - plain data
    """What stands at a path; None for nothing."""
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


class _Preparation:
    def __init__(self, tree: dict[str, Any], known: MappingOf[str, str], kept: dict[str, str]) -> None:
        self._known = known
        self._in_use = references(tree)
        self._kept = kept

    def without_secrets(self, path: Path, value: Any, before: Any) -> Any:  # noqa: ANN401 - plain data
        """What config.yaml gets for a value that is set at ``path``, where ``before`` stood."""
        if len(path) > 2:
            _check_url(path, value)
            keeper = Keeper(path[1], self._known, self._in_use, self._kept)
            return keeper.without_secrets(".".join(path[2:]), value, before)
        if not isinstance(value, dict):
            return value
        return {name: self.without_secrets((*path, name), below, at(before, (name,))) for name, below in value.items()}


def _check_one_kind(paths: list[Path]) -> None:
    for path in paths:
        if len(path) == 3 and path[2] == "url" and (*path[:2], "command") in paths:
            raise UsageError(f"{'.'.join(path[:2])} would have a command and a url", next_step="set one of them")


def _check_url(path: Path, value: object) -> None:
    if path[2:] == ("url",) and isinstance(value, str) and not REFERENCE.search(value) and holds_user(value):
        step = (
            f"leave them out, and set {'.'.join(path[:2])}.headers.Authorization to: Basic … (base64 of USER:PASSWORD)"
        )
        raise UsageError(f"{'.'.join(path)} holds a user name or password", next_step=step)


def _plain(node: Node, *, is_text: bool, depth: int) -> Any:  # noqa: ANN401 - plain data
    """``depth`` counts the parts of the key: the third is the name of a server's setting."""
    if isinstance(node, Mapping):
        return {
            name: _plain(below, is_text=is_text or (depth == 2 and name in _TEXTS), depth=depth + 1)
            for name, below in node.values.items()
        }
    if isinstance(node, Sequence):
        return [_plain(item, is_text=is_text, depth=depth + 1) for item in node.items]
    assert isinstance(node, Scalar)
    if node.is_null:
        return None
    return plain_value(node.text) if node.plain and not is_text else node.text

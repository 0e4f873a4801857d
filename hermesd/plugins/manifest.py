"""plugin.yaml: what a plugin says about itself, read without running any of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import ConfigError
from hermesd.home import read_bounded

if TYPE_CHECKING:
    from pathlib import Path

    from hermesd.config.document import Node

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
FILE = "plugin.yaml"
MAX_BYTES = 64 * 1024
MAX_TEXT = 500
MAX_VARIABLES = 64


class Manifest(msgspec.Struct, frozen=True):
    """``requires_env``: variables without which it is not loaded. Other keys of hermes-agent's are passed over."""

    name: str
    version: str = ""
    description: str = ""
    requires_env: tuple[str, ...] = ()


def read_manifest(directory: Path) -> Manifest:
    """The plugin.yaml of a directory; one without a name has the directory's.

    Raises ConfigError with file:line for one that is missing, not YAML, or gives a name that none may have.
    """
    from hermesd.config.document import parse

    path = directory / FILE
    try:
        root = parse(read_bounded(path, max_bytes=MAX_BYTES, follow=True), str(path))
    except ConfigError as error:  # its next step is for config.yaml
        raise ConfigError(error.what, where=error.where, next_step=f"correct {path}") from None
    except FileNotFoundError:
        raise ConfigError("is missing", where=str(path), next_step=f"write {path} with a name, at least") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path), next_step="look at it: ls -l") from None
    values = root.values
    name = _text(values.get("name")) or directory.name
    if not NAME.fullmatch(name):
        where = f"{path}:{root.key_lines.get('name', 1)}"
        raise ConfigError(f"{name[:80]!r} is not a plugin's name", where=where, next_step="use letters, digits, . _ -")
    return Manifest(
        name,
        version=_text(values.get("version")),
        description=_text(values.get("description")),
        requires_env=_variables(values.get("requires_env"), f"{path}:{root.key_lines.get('requires_env', 1)}"),
    )


def _text(node: Node | None) -> str:
    from hermesd.config.document import Scalar
    from hermesd.mcp.sanitize import visible

    if not isinstance(node, Scalar) or node.is_null:
        return ""
    return " ".join(visible(node.text[: 4 * MAX_TEXT]).split())[:MAX_TEXT]


def _variables(node: Node | None, where: str) -> tuple[str, ...]:
    """Names, or mappings with a ``name``, as hermes-agent writes them; one name may stand without a list."""
    from hermesd.config.document import Mapping, Scalar, Sequence

    if node is None or (isinstance(node, Scalar) and node.is_null):
        return ()
    items = node.items if isinstance(node, Sequence) else [node]
    if len(items) > MAX_VARIABLES:
        raise ConfigError(f"needs more than {MAX_VARIABLES} variables", where=where, next_step="need fewer")
    names = [_text(item.values.get("name") if isinstance(item, Mapping) else item) for item in items]
    for name in names:
        if not VARIABLE.fullmatch(name):
            raise ConfigError(f"{name[:80]!r} is not a variable's name", where=where, next_step="write NAME")
    return tuple(dict.fromkeys(names))

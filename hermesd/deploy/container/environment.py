"""``env`` of a manifest as the text of a .env."""

from __future__ import annotations

import io
import os
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from hermesd.deploy.container.files import read_regular
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from hermesd.deploy.container.manifest import Manifest

HEADER = "# written by `hermesctl container ensure` from its manifest: changes belong there\n"
MAX_FILE_BYTES = 1024 * 1024
_BARE = re.compile(r"[A-Za-z0-9_./:@%+,=-]+", re.ASCII)


def env_text(manifest: Manifest) -> str:
    """The .env: the values, then the files in their order, later ones winning.

    Raises ConfigError for a file that is unreadable, missing (unless ``-`` stands before it), or in the agent's reach.
    """
    found = dict(manifest.env.values)
    for path in manifest.env.files:
        found.update(_variables(path.removeprefix("-"), may_miss=path.startswith("-"), manifest=manifest))
    return HEADER + "".join(_line(name, value) for name, value in sorted(found.items()))


def _line(name: str, value: str) -> str:
    if _BARE.fullmatch(value):
        return f"{name}={value}\n"
    quoted = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"{name}='{quoted}'\n"


def _variables(path: str, *, may_miss: bool, manifest: Manifest) -> dict[str, str]:
    _check_reach(path, manifest)
    try:
        data = _read(path)
    except FileNotFoundError:
        if may_miss:
            return {}
        raise ConfigError("is missing", where=path, next_step="write it, or put - before it in env.files") from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=path, next_step="make it readable") from None
    try:
        text = data.decode("utf-8-sig").replace("\0", "")
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8", where=path, next_step="save it as UTF-8") from None
    from dotenv.parser import parse_stream

    found = {}
    for binding in parse_stream(io.StringIO(text, newline="")):
        if binding.error:
            line = binding.original.line
            raise ConfigError("is no KEY=VALUE", where=f"{path}:{line}", next_step="correct or remove the line")
        if binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    return found


def _check_reach(path: str, manifest: Manifest) -> None:
    """A file below a directory of the agent's could be a link to anything that root can read."""
    state = os.path.realpath(manifest.state_dir)
    for one in (path, os.path.realpath(path)):
        if PurePosixPath(one).is_relative_to(manifest.state_dir) or PurePosixPath(one).is_relative_to(state):
            raise ConfigError(
                "lies in the state directory, where the agent could replace it",
                where=path,
                next_step="move it elsewhere",
            )


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    data = read_regular(fd, max_bytes=MAX_FILE_BYTES + 1)
    if data is None:
        raise ConfigError("is not a regular file", where=path, next_step="name a file")
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError(f"is larger than {MAX_FILE_BYTES} bytes", where=path, next_step="make it smaller")
    return data

"""``.container-mode`` in the home: ``#`` comments and ``key=value`` lines that say where the container is.

The file decides which program a person runs, so it is taken only from root or from that person, and not out of a
directory that a group or everybody may write to. Its values become single arguments and never pass through a shell.
"""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from hermesd.errors import ConfigError, DeniedError

MARKER_NAME = ".container-mode"
MAX_MARKER_BYTES = 16 * 1024
MAX_VALUE_CHARACTERS = 512
BACKENDS = ("docker", "podman")


class Marker(NamedTuple):
    """Where calls go. The defaults are those of a file without lines."""

    backend: str = "docker"
    container_name: str = "hermes-agent"
    exec_user: str = "hermes"
    hermes_bin: str = "/data/current-package/bin/hermesctl"


def read_marker(home: str) -> tuple[Marker, list[str]]:
    """The marker of a home and notices about lines without a meaning.

    Raises FileNotFoundError, ConfigError for a file that is wrong or could be somebody else's, DeniedError when it
    cannot be read.
    """
    path = f"{home}/{MARKER_NAME}"
    try:
        directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            data = _read_safely(directory, path)
        finally:
            os.close(directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DeniedError(
            f"cannot be read: {error.strerror}", where=path, next_step=f"let this user (uid {os.geteuid()}) read it"
        ) from None
    try:
        return parse_marker(data.decode(), path)
    except UnicodeDecodeError:
        raise ConfigError("is not UTF-8", where=path, next_step="write it anew") from None


def _read_safely(directory: int, path: str) -> bytes:
    """The contents, once owner and permissions of the file and of its directory say that nobody else wrote it."""
    _refuse_writable(os.fstat(directory), os.path.dirname(path))  # noqa: PTH120 - a string as it was given
    try:
        fd = os.open(MARKER_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        if stat.S_ISLNK(os.stat(MARKER_NAME, dir_fd=directory, follow_symlinks=False).st_mode):
            raise ConfigError("is a symbolic link", where=path, next_step=f"remove it: rm {path}") from error
        raise
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError("is not a regular file", where=path, next_step="remove it")
        if found.st_uid not in (0, os.geteuid()):
            raise ConfigError(
                f"belongs to uid {found.st_uid}, neither to root nor to you, and says which program to run",
                where=path,
                next_step=f"if its lines are right: chown root {path}",
            )
        _refuse_writable(found, path)
        data = os.read(fd, MAX_MARKER_BYTES + 1)
    finally:
        os.close(fd)
    if len(data) > MAX_MARKER_BYTES:
        raise ConfigError(f"is larger than {MAX_MARKER_BYTES} bytes", where=path, next_step="write it anew")
    return data


def _refuse_writable(found: os.stat_result, path: str) -> None:
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"others may write to it, so {MARKER_NAME} could be anybody's", where=path, next_step=f"chmod go-w {path}"
        )


def parse_marker(text: str, path: str) -> tuple[Marker, list[str]]:
    """Values and notices. Raises ConfigError with the line of what is wrong."""
    values: dict[str, str] = {}
    notices = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if not word or word.startswith("#"):
            continue
        where = f"{path}:{number}"
        key, equals, value = (part.strip() for part in word.partition("="))
        if not equals:
            raise ConfigError(f"{word[:60]!r} is not key=value", where=where, next_step="mend or remove the line")
        if key not in Marker._fields:
            known = ", ".join(Marker._fields)
            notices.append(f"{where}: unknown key {key[:60]!r}; the keys are {known}")
        elif key in values:
            raise ConfigError(f"{key} is given twice", where=where, next_step="remove one of the lines")
        else:
            values[key] = check_value(key, value, where)
    return Marker(**values), notices


def check_value(key: str, value: str, where: str) -> str:
    """The value if it can stand in an argument list as what it is; raises ConfigError."""
    if not value or len(value) > MAX_VALUE_CHARACTERS:
        raise ConfigError(f"{key} must have 1 to {MAX_VALUE_CHARACTERS} characters", where=where, next_step="mend it")
    if value.startswith("-") or not value.isprintable():
        raise ConfigError(
            f"{key}={value[:60]!r} begins with a dash or holds control characters", where=where, next_step="mend it"
        )
    if key == "backend" and value not in BACKENDS:
        raise ConfigError(f"there is no backend {value[:60]!r}", where=where, next_step="use docker or podman")
    if key == "hermes_bin" and not value.startswith("/"):
        raise ConfigError(
            f"hermes_bin={value[:60]!r} is not an absolute path",
            where=where,
            next_step="give the path in the container",
        )
    return value

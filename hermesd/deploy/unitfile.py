"""Files written for a service manager: told from other people's, replaced in one step, never followed.

The first lines say who made a file, from what, and the hash of the rest. So one that only grew old is refreshed, one
that somebody changed by hand is not overwritten unasked, and one that is not ours is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING, Literal

from hermesd.deploy.replace_file import replace_file
from hermesd.errors import ConfigError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hermesd.deploy.manager import ServiceFile

MADE_BY = "made by `hermesctl service install`"
MAX_BYTES = 64 * 1024
HEADER_LINES = 3

Condition = Literal["missing", "current", "stale", "edited", "foreign"]


def with_header(body: str, facts: Mapping[str, str], *, comment: str = "# ") -> str:
    """``body`` under three lines: who made it, from which facts, and its hash."""
    said = json.dumps(facts, sort_keys=True)
    return f"{comment}{MADE_BY}\n{comment}from {said}\n{comment}content {_hash(body)}\n{body}"


def facts_of(text: str) -> dict[str, str]:
    """What a file was made from; empty when that cannot be read."""
    lines = text.splitlines()[:HEADER_LINES]
    if len(lines) < HEADER_LINES or MADE_BY not in lines[0]:
        return {}
    try:
        found = json.loads(lines[1].partition(" from ")[2])
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def condition(text: str | None, wanted: str) -> Condition:
    """How a file (None: it is not there) stands to what it should be."""
    if text is None:
        return "missing"
    if text == wanted:
        return "current"
    lines = text.split("\n", HEADER_LINES)
    if len(lines) <= HEADER_LINES or MADE_BY not in lines[0]:
        return "foreign"
    return "stale" if lines[2].endswith(f"content {_hash(lines[3])}") else "edited"


def read(path: Path) -> str | None:
    """The text, or None when there is no such file. Raises ConfigError for anything but a regular file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        what = "is a symbolic link" if path.is_symlink() else f"cannot be read: {error.strerror}"
        raise ConfigError(what, where=str(path), next_step=f"look who made it, then remove it: rm {path}") from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise ConfigError("is not a regular file", where=str(path), next_step=f"remove it: rm -r {path}")
        with os.fdopen(os.dup(fd), "rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace")
    finally:
        os.close(fd)


def check_ours(path: Path, found: Condition, *, force: bool) -> None:
    """Raise ConflictError when the file is somebody else's, or was changed by hand and ``force`` is not given."""
    if found == "foreign":
        raise ConflictError(
            "was not made by hermesctl", where=str(path), next_step=f"move it away: mv {path} {path}.before"
        )
    if found == "edited" and not force:
        raise ConflictError(
            "was changed by hand",
            where=str(path),
            next_step="keep your changes in a drop-in (systemctl edit), then repeat this with --force",
        )


def write(file: ServiceFile, *, mode: int = 0o644) -> None:
    """Replace a file in one step, making its directory. Raises ConfigError when the system refuses."""
    try:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        directory = os.open(file.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            replace_file(file.path.name, file.text.encode(), below=directory, mode=mode)
        finally:
            os.close(directory)
    except OSError as error:
        raise refused(file.path, error) from error


def remove(path: Path) -> bool:
    """Remove a file; whether it was there. Raises ConfigError when the system refuses."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise refused(path, error) from error
    return True


def refused(path: Path, error: OSError) -> ConfigError:
    """What to say when a path cannot be used."""
    step = "run it with sudo" if isinstance(error, PermissionError) else "make it writable for this user"
    return ConfigError(f"cannot be written: {error.strerror}", where=str(path), next_step=step)


def _hash(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:32]

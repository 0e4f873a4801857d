"""Service directories that come and go while s6-svscan looks after the directory they are in.

A new one is staged under a name that s6-svscan passes over and renamed into place, so that it is there as a whole or
not at all; a retired one is renamed away before it is removed. https://skarnet.org/software/s6/scandir.html
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from hermesd.deploy.command import run, succeeds
from hermesd.errors import ConfigError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NEW, GONE = ".new-", ".gone-"
EVENT_MODE = 0o3730
"""Of a fifodir, so that its owner's processes may be told events: s6-mkfifodir(1)."""

TAKEN_UP_MS = 30_000

_RESCAN = 's6-svscanctl -a "$1"; ! s6-svstat "$2" > /dev/null 2>&1 || s6-ftrig-notify "$3" s'
"""Run by who listens already: a scan of s6-svscan's own may have come first, and its event before the listening.

s6-svstat rather than s6-svok: s6-supervise takes orders a moment before it can be asked for its state.
"""


class ServiceDirectory(NamedTuple):
    """What a new one holds: file names relative to it, and their text. ``programs`` are those to be executable."""

    files: Mapping[str, str]
    programs: frozenset[str] = frozenset({"run", "finish", "log/run"})


def is_supervised(scan: Path) -> bool:
    """Whether s6-svscan has been here, running as this user: what we write, it would run as itself."""
    try:
        found = (scan / ".s6-svscan").stat()
    except OSError:
        return False
    return found.st_uid == os.geteuid() and os.access(scan, os.W_OK)


def publish(
    scan: Path, name: str, directory: ServiceDirectory, environment: Mapping[str, str], *, owner: str = ""
) -> None:
    """Put it into place and return once s6-supervise looks after it. ``owner`` is for ``sweep``.

    Raises ConflictError when there is one of this name, ServiceCommandError when s6-svscan does not answer (nothing is
    left then), and ConfigError when it cannot be written.
    """
    staged = scan / f"{NEW}{_mark(owner)}-{name}-{os.urandom(6).hex()}"
    try:
        _stage(staged, directory)
        if os.path.lexists(scan / name):
            raise _taken(scan, name)
        staged.rename(scan / name)
    except OSError as error:
        raise _unwritable(scan, error) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    try:
        event = str(scan / name / "event")
        listen = ["s6-ftrig-listen1", "-t", str(TAKEN_UP_MS), event, "s"]
        run([*listen, "sh", "-c", _RESCAN, "sh", str(scan), str(scan / name), event], environment, next_step=_see(scan))
    except BaseException:  # a Ctrl-C too: a slot that was not taken up must not come up later
        retire(scan, name, environment, owner=owner)
        raise


def retire(scan: Path, name: str, environment: Mapping[str, str], *, owner: str = "") -> None:
    """Take it, stopped, from its supervisor and remove it; nothing of it runs afterwards. Raises as ``publish``."""
    gone = scan / f"{GONE}{_mark(owner)}-{name}-{os.urandom(6).hex()}"
    try:
        (scan / name).rename(gone)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(scan, error) from error
    _discard(scan, gone, environment)


def sweep(scan: Path, environment: Mapping[str, str], *, owner: str = "") -> list[str]:
    """Remove what a crash of this owner has left half made or half removed; the names of it."""
    marks = (f"{NEW}{_mark(owner)}-", f"{GONE}{_mark(owner)}-")
    left = sorted(row for row in scan.iterdir() if row.name.startswith(marks))
    for row in left:
        _discard(scan, row, environment)
    return [row.name for row in left]


def _discard(scan: Path, gone: Path, environment: Mapping[str, str]) -> None:
    supervised = [place for place in (gone, gone / "log") if succeeds(["s6-svok", str(place)], environment)]
    if supervised:
        events = [word for place in supervised for word in (f" {place / 'event'}", " x")]  # a block: execlineb(1)
        prune = ["s6-svscanctl", "-an", str(scan)]
        listen = ["s6-ftrig-listen", "-a", "-t", str(TAKEN_UP_MS), *events, ""]
        run([*listen, *prune], environment, next_step=_see(scan))
    try:
        shutil.rmtree(gone)
    except OSError as error:
        raise _unwritable(scan, error) from error


def _mark(owner: str) -> str:
    return hashlib.sha256(owner.encode("utf-8", "replace")).hexdigest()[:12]


def _stage(staged: Path, directory: ServiceDirectory) -> None:
    staged.mkdir(mode=0o700)
    for name, text in directory.files.items():
        path = staged / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text(text)
        path.chmod(0o700 if name in directory.programs else 0o600)
    for place in (staged, staged / "log"):
        if place.is_dir():
            (place / "event").mkdir()
            (place / "event").chmod(EVENT_MODE)


def _taken(scan: Path, name: str) -> ConflictError:
    return ConflictError(
        f"there is a service {name!r} already", where=str(scan / name), next_step=f"s6-svstat {scan / name}"
    )


def _unwritable(scan: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"cannot be written: {error.strerror}",
        where=str(error.filename or scan),
        next_step=f"give this user the directory: chown {os.geteuid()} {scan}",
    )


def _see(scan: Path) -> str:
    return f"see that s6-svscan runs on it: s6-svscan {scan}"

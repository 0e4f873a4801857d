"""The claim to a home: flock(2) on hermesd.pid, held for life.

The lock is the truth and the number in the file is for people, so a pid file left by a crash claims nothing.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from hermesd.errors import ConfigError, ConflictError
from hermesd.home import check_private, open_directory

if TYPE_CHECKING:
    from pathlib import Path

_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_PID_BYTES = 32


class Claim:
    """A held lock; ``release`` gives it up and removes the file. Made by ``claim_home``."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path = path
        self._fd = fd

    def release(self) -> None:
        """Remove the pid file, then let go; further calls do nothing."""
        if self._fd < 0:
            return
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._fd)
        self._fd = -1


def claim_home(pid_path: Path) -> Claim:
    """Become the one daemon of this home. The descriptor is not inherited by children.

    Raises ConflictError naming the pid of the daemon that runs, ConfigError when something else lies at the path
    (a symbolic or hard link, not a regular file, another owner's), OSError otherwise.
    """
    with open_directory(pid_path.parent) as directory:
        check_private(directory, pid_path.parent)
        while True:
            fd = _open(pid_path, directory)
            try:
                _check(fd, pid_path)
                _lock(fd, pid_path)
                if _is_still_there(fd, pid_path.name, directory):
                    os.ftruncate(fd, 0)
                    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                    return Claim(pid_path, fd)
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)  # its holder removed it between our open and our lock


def holder(pid_path: Path) -> int:
    """The process id of the daemon that has claimed a home, 0 when there is none (or there is no /proc).

    Only looked up (proc_locks(5)): taking the lock to find out would be in the way of a daemon that starts.
    """
    try:
        with pid_path.open("rb") as file:
            pid = int(file.read(_PID_BYTES))
            inode = os.fstat(file.fileno()).st_ino
        with open("/proc/locks", encoding="ascii") as locks:  # noqa: PTH123 - a kernel file, not worth a Path
            held = any("FLOCK" in line and f":{inode} " in line for line in locks)
    except (OSError, ValueError):
        return 0
    return pid if held else 0


def _open(path: Path, directory: int) -> int:
    try:
        return os.open(path.name, _FLAGS, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EISDIR, errno.ENXIO}:
            raise _refusal("is not a regular file", path) from error
        raise


def _check(fd: int, path: Path) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise _refusal("is not a regular file", path)
    if found.st_uid != os.geteuid():
        raise _refusal(f"is owned by uid {found.st_uid}", path)
    if found.st_nlink > 1:
        raise _refusal("is a hard link to another file", path)
    os.fchmod(fd, 0o600)


def _lock(fd: int, path: Path) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        pid = os.pread(fd, _PID_BYTES, 0).decode("ascii", "replace").strip() or "unknown"
        raise ConflictError(
            f"a hermesd with pid {pid} already runs on this home",
            where=str(path),
            next_step=f"stop it (kill {pid}), or set HERMES_HOME to another directory",
        ) from error


def _is_still_there(fd: int, name: str, directory: int) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _refusal(what: str, path: Path) -> ConfigError:
    return ConfigError(what, where=str(path), next_step=f"find out who put it there, then remove it: rm {path}")

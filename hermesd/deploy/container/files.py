"""Directories by descriptor: in a place that somebody else can write to, no name is followed and none is trusted.

The agent may put a symbolic link wherever it may write. So every step is one name below an open directory and never a
path, and what is opened is looked at through its descriptor (openat(2), O_NOFOLLOW).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

REMOVE = "look what it is, and remove it"
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


@contextlib.contextmanager
def opened(name: str, *, below: int | None = None, where: str) -> Iterator[int]:
    """A descriptor of a directory that is no symbolic link. Raises ConfigError, and FileNotFoundError as it comes."""
    try:
        fd = os.open(name, DIRECTORY, dir_fd=below)
    except FileNotFoundError:
        raise
    except OSError as error:
        found = os.stat(name, dir_fd=below, follow_symlinks=False)
        what = "is a symbolic link" if stat.S_ISLNK(found.st_mode) else f"cannot be used: {error.strerror}"
        raise ConfigError(what, where=where, next_step=step_after(error)) from None
    try:
        yield fd
    finally:
        os.close(fd)


def step_after(error: OSError) -> str:
    """The next step for something that cannot be opened: what is only shut must not be removed."""
    return f"let this user (uid {os.geteuid()}) use it" if error.errno in FORBIDDEN else REMOVE


def exists(name: str, *, below: int) -> bool:
    """Whether there is anything of this name."""
    try:
        os.stat(name, dir_fd=below, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def make_directory(name: str, *, below: int, mode: int) -> bool:
    """Make it if it is not there; whether it was made."""
    try:
        os.mkdir(name, mode, dir_fd=below)
    except FileExistsError:
        return False
    return True


def read_file(name: str, *, below: int, max_bytes: int) -> bytes | None:
    """The contents of a regular file; None for none, or for what is none."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=below)
    except OSError:
        return None
    return read_regular(fd, max_bytes=max_bytes + 1)


def read_regular(fd: int, *, max_bytes: int) -> bytes | None:
    """The beginning of an open file, which is closed; None if it is no regular one. Raises OSError."""
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):  # looked at first: os.fdopen has words of its own for a directory
            return None
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(max_bytes)
    finally:
        os.close(fd)


def replace_link(name: str, target: str, *, below: int, where: str) -> None:
    """Let the symbolic link point there, in one step. Raises ConfigError when a directory is in its place."""
    temporary = f".{name}.{os.urandom(6).hex()}"
    os.symlink(target, temporary, dir_fd=below)
    try:
        os.rename(temporary, name, src_dir_fd=below, dst_dir_fd=below)
    except OSError as error:
        os.unlink(temporary, dir_fd=below)
        raise ConfigError(f"cannot become a link: {error.strerror}", where=where, next_step=REMOVE) from None


def link_target(name: str, *, below: int) -> str | None:
    """Where a symbolic link points; None when there is none."""
    try:
        return os.readlink(name, dir_fd=below)
    except OSError:
        return None

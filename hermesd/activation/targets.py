"""Places below a directory, reached by descriptors: no link is followed, nothing is half-written, nothing lies outside.

The agent may write wherever these files lie, so a name may have become a link since the last run. A path is walked one
name at a time below an open directory (openat(2), O_NOFOLLOW), and a link in the place of a target is refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from hermesd.deploy.container.files import FORBIDDEN, REMOVE, exists, make_directory, opened, read_regular, step_after
from hermesd.deploy.replace_file import replace_file
from hermesd.errors import ConfigError, DeniedError, HermesError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES = 8 * 1024 * 1024
_TEMPORARY = re.compile(r"\.hermes-activate-[0-9a-f]{12}", re.ASCII)
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
"""A directory on the way may be one that we can only pass through (open(2), O_PATH)."""


class Found(NamedTuple):
    """A regular file as it is: its contents and the permission bits."""

    data: bytes
    mode: int


class Place:
    """A directory that targets lie below. ``fd`` is None while it is not there (a first dry run)."""

    def __init__(self, path: str, fd: int | None) -> None:
        self.path = path
        self.fd = fd

    def where(self, target: PurePosixPath) -> str:
        """The target in words."""
        return str(PurePosixPath(self.path) / target)

    def read(self, target: PurePosixPath, *, max_bytes: int = MAX_BYTES) -> Found | None:
        """The file; None when there is none. Raises ConfigError for a link, for no regular file, for a large one."""
        with self._above(target) as above:
            return None if above is None else self._read(above, target, max_bytes)

    def is_directory(self, target: PurePosixPath) -> bool:
        """Whether the directory is there. Raises ConfigError when something else is."""
        with self._above(target / "_") as above:
            return above is not None

    def is_taken(self, target: PurePosixPath) -> bool:
        """Whether there is anything of this name, a link that leads nowhere too."""
        with self._above(target) as above:
            return above is not None and exists(target.name, below=above)

    @contextlib.contextmanager
    def directory(self, target: PurePosixPath) -> Iterator[int | None]:
        """A descriptor of the directory; None when it is not there. Raises ConfigError when something else is."""
        with self._above(target / "_") as fd:
            yield fd

    def make(self, target: PurePosixPath) -> None:
        """Make the directory and those above it, 0700 whatever the umask. Raises as ``write``."""
        with _writing(self.where(target)):
            if self.fd is None:
                self.fd = _open(self.path, make=True)
            with self._above(target / "_", make=True):
                pass

    def write(self, target: PurePosixPath, data: bytes, *, mode: int) -> None:
        """Put the file there in one step, durably.

        Raises ConfigError for a link in its place, DeniedError and HermesError when it cannot be written.
        """
        with _writing(self.where(target)), self._above(target, make=True) as above:
            assert above is not None
            self._read(above, target, MAX_BYTES)
            temporary = f".hermes-activate-{os.urandom(6).hex()}"
            replace_file(target.name, data, below=above, mode=mode, temporary=temporary)

    def remove(self, target: PurePosixPath) -> None:
        """Remove the file. Raises as ``write``."""
        with _writing(self.where(target)), self._above(target) as above:
            if above is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(target.name, dir_fd=above)
                os.fsync(above)

    def sweep(self, directory: PurePosixPath) -> None:
        """Remove what a run that was killed left there of files that it was writing. Only while the lock is held."""
        with self._above(directory / "_") as fd:
            if fd is None:
                return
            with os.scandir(fd) as rows:
                left = [row.name for row in rows if _TEMPORARY.fullmatch(row.name)]
            for name in left:
                os.unlink(name, dir_fd=fd)

    def _read(self, above: int, target: PurePosixPath, max_bytes: int) -> Found | None:
        where = self.where(target)
        try:
            fd = os.open(target.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
        except FileNotFoundError:
            return None
        except OSError as error:
            found = os.stat(target.name, dir_fd=above, follow_symlinks=False)
            what = "is a symbolic link" if stat.S_ISLNK(found.st_mode) else f"cannot be read: {error.strerror}"
            raise ConfigError(what, where=where, next_step=step_after(error)) from None
        mode = stat.S_IMODE(os.fstat(fd).st_mode)
        data = read_regular(fd, max_bytes=max_bytes + 1)
        if data is None:
            raise ConfigError("is not a regular file", where=where, next_step=REMOVE)
        if len(data) > max_bytes:
            raise ConfigError(f"is larger than {max_bytes} bytes", where=where, next_step="make it smaller")
        return Found(data, mode)

    @contextlib.contextmanager
    def _above(self, target: PurePosixPath, *, make: bool = False) -> Iterator[int | None]:
        """The directory that a target is in; None when it is not there and not to be made."""
        with contextlib.ExitStack() as stack:
            fd = self.fd
            for depth, name in enumerate(target.parts[:-1], 1):
                if fd is None:
                    break
                where = self.where(PurePosixPath(*target.parts[:depth]))
                is_new = make and make_directory(name, below=fd, mode=0o700)
                try:
                    fd = stack.enter_context(opened(name, below=fd, where=where))
                except FileNotFoundError:
                    fd = None
                else:
                    if is_new:
                        os.fchmod(fd, 0o700)
            yield fd


@contextlib.contextmanager
def _writing(where: str) -> Iterator[None]:
    """What the system says names only the last part of a path that was reached by descriptors."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written: {error.strerror}"
        if error.errno in FORBIDDEN:
            raise DeniedError(what, where=where, next_step=f"let this user (uid {os.geteuid()}) write there") from None
        raise HermesError(what, where=where, next_step="mend it, and run it again") from None


@contextlib.contextmanager
def place(path: str) -> Iterator[Place]:
    """An absolute directory, open if it is there. Raises ConfigError, OSError.

    Above it links are followed only if they are root's, as /home or /var of a distribution may be.
    """
    found = Place(path, _open(path, make=False))
    try:
        yield found
    finally:
        if found.fd is not None:
            os.close(found.fd)


def _open(path: str, *, make: bool) -> int | None:
    """A descriptor; ``make`` creates the last component, 0700 whatever the umask."""
    pure = PurePosixPath(path)
    with contextlib.ExitStack() as stack:
        fd = stack.enter_context(opened("/", where="/"))
        for depth, name in enumerate(pure.parts[1:-1], 2):
            above = PurePosixPath(*pure.parts[:depth])
            step = _step(name, below=fd, where=str(above))
            if step is None and make:
                raise ConfigError("is missing", where=str(above), next_step=f"make it: mkdir -p {pure.parent}")
            if step is None:
                return None
            stack.callback(os.close, step)
            fd = step
        is_new = make and make_directory(pure.name, below=fd, mode=0o700)
        try:
            found = os.dup(stack.enter_context(opened(pure.name, below=fd, where=path)))
        except FileNotFoundError:
            return None
        if is_new:
            os.fchmod(found, 0o700)
        return found


def _step(name: str, *, below: int, where: str) -> int | None:
    """A descriptor of a directory on the way to a place; a link of root's is followed, any other refused."""
    try:
        found = os.stat(name, dir_fd=below, follow_symlinks=False)
        if not stat.S_ISLNK(found.st_mode):
            return os.open(name, _STEP | os.O_NOFOLLOW, dir_fd=below)
        if found.st_uid == 0:
            return os.open(name, _STEP, dir_fd=below)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"cannot be used: {error.strerror}", where=where, next_step=step_after(error)) from None
    raise ConfigError("is a symbolic link", where=where, next_step="name the directory itself, or remove the link")

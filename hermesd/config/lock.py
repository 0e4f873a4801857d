"""The lock of a profile's config.yaml and .env: who changes them holds it from reading them until they are written.

The daemon, every hermesctl and an activation take the same one, flock(2) on ``.config.lock`` in the profile's
directory, so that no two undo each other's change. The file stays, and is empty; a process that ends lets go of it,
however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import time
from typing import TYPE_CHECKING

from hermesd.errors import ConfigError, ConflictError
from hermesd.home import make_private_directory, open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermesd.home import Profile

LOCK_NAME = ".config.lock"
WAIT_S = 10.0
"""A change takes milliseconds: who has not let go after this time is stuck."""
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})


class _Held(threading.local):
    """The directories whose lock this thread holds."""

    def __init__(self) -> None:
        self.roots: set[Path] = set()


_held = _Held()


@contextlib.contextmanager
def changing(profile: Profile) -> Iterator[None]:
    """Nobody else changes the profile's config.yaml or .env meanwhile. One inside another of this thread is the same.

    A directory that is not there is made, and goes again when the block fails before anything is in it.
    Raises ConflictError when another process keeps the lock for ``WAIT_S``, ConfigError when it cannot be taken.
    """
    if profile.root in _held.roots:
        yield
        return
    with contextlib.ExitStack() as stack:
        is_new = _take(profile.root, stack)
        _held.roots.add(profile.root)
        stack.callback(_held.roots.discard, profile.root)
        try:
            yield
        except BaseException:  # whatever it is goes on
            if is_new:
                _unmake(profile.root)
            raise


@contextlib.contextmanager
def locked(directory: int, where: str, *, wait_s: float | None = None) -> Iterator[None]:
    """Hold the lock of the open ``directory``, whose path is ``where``. Raises ConflictError, ConfigError, OSError."""
    deadline = time.monotonic() + (WAIT_S if wait_s is None else wait_s)
    path = f"{where}/{LOCK_NAME}"
    while True:
        attempt = _Attempt(_open(directory, path))
        try:
            if not attempt.take(deadline - time.monotonic()):
                raise _refusal(attempt.holder(), path)
            if attempt.is_still(LOCK_NAME, directory):
                yield
                return
        finally:
            attempt.close()


def _take(root: Path, stack: contextlib.ExitStack) -> bool:
    """Take the lock until the end of ``stack``; whether the directory had to be made."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            is_new = _make(root)
            with open_directory(root) as directory:
                stack.enter_context(locked(directory, str(root), wait_s=deadline - time.monotonic()))
        except FileNotFoundError:  # another one has just taken its new directory away again
            if time.monotonic() >= deadline:
                raise _refusal(0, f"{root}/{LOCK_NAME}") from None
        except OSError as error:
            step = "look at it: ls -ld"
            raise ConfigError(f"cannot be written: {error.strerror}", where=str(root), next_step=step) from None
        else:
            return is_new


def _make(root: Path) -> bool:
    try:
        root.mkdir(parents=True, mode=0o700)
        is_new = True
    except FileExistsError:
        is_new = False
    make_private_directory(root)
    return is_new


def _unmake(root: Path) -> None:
    """Take away a directory that was made for nothing, with the lock that is held: who waits for it looks again."""
    with contextlib.suppress(OSError):
        (root / LOCK_NAME).unlink()
        root.rmdir()


def _open(directory: int, path: str) -> int:
    """The lock file, 0600 whatever the umask. Raises ConfigError for anything else of that name, OSError."""
    refusal = ConfigError("is not a regular file", where=path, next_step=f"remove it: rm {path}")
    try:
        fd = os.open(LOCK_NAME, _FLAGS, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise refusal from None
        raise
    found = os.fstat(fd).st_mode
    if not stat.S_ISREG(found):
        os.close(fd)
        raise refusal
    if stat.S_IMODE(found) != 0o600:
        with contextlib.suppress(OSError):  # whose it is, may
            os.fchmod(fd, 0o600)
    return fd


def _refusal(pid: int, path: str) -> ConflictError:
    who = f"process {pid}" if pid else "another process"
    step = f"see what it is (ps -p {pid}), and try again" if pid else "try again when it has ended"
    what = f"the configuration is being changed by {who}, which has not let go of it for {WAIT_S:g} s"
    return ConflictError(what, where=path, next_step=step)


class _Attempt:
    """A flock(2) on an open file, waited for in a thread that may be given up: then whoever comes last closes it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._guard = threading.Lock()
        self._is_waiting = False
        self._is_given_up = False
        self._error: OSError | None = None

    def take(self, wait_s: float) -> bool:
        """Whether it was had within ``wait_s`` seconds. Raises OSError."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return True
        self._is_waiting = True
        waiter = threading.Thread(target=self._wait, daemon=True, name="config-lock")
        waiter.start()
        waiter.join(max(0.0, wait_s))
        with self._guard:
            if self._error:
                raise self._error
            return not self._is_waiting

    def _wait(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except OSError as error:
            self._error = error
        with self._guard:
            self._is_waiting = False
            if self._is_given_up:
                os.close(self._fd)

    def is_still(self, name: str, directory: int) -> bool:
        """Whether the file has this name yet."""
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(name, dir_fd=directory, follow_symlinks=False))
        except FileNotFoundError:
            return False

    def holder(self) -> int:
        """The process that has the lock (proc_locks(5)); 0 when that cannot be known."""
        inode = os.fstat(self._fd).st_ino
        with contextlib.suppress(OSError, ValueError), open("/proc/locks", encoding="ascii") as rows:  # noqa: PTH123 - a kernel file, not worth a Path
            for row in rows:
                words = row.split()
                if words[1:2] == ["FLOCK"] and f":{inode} " in row:  # a line of one that waits has -> there
                    return max(0, int(words[4]))
        return 0

    def close(self) -> None:
        """Let go, or give up."""
        with self._guard:
            self._is_given_up = True
            if not self._is_waiting:
                os.close(self._fd)

"""The lock of a profile's config.yaml and .env: who changes them holds it from reading them until they are written.

The daemon, every hermesctl and an activation take the same one, flock(2) on ``.config.lock`` in the profile's
directory, so that no two undo each other's change. The file stays, and is empty; a process that ends lets go of it,
however it ends.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from hermesd.errors import ConfigError, ConflictError
from hermesd.file_lock import FileLock, open_lock
from hermesd.home import make_private_directory, open_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermesd.home import Profile

LOCK_NAME = ".config.lock"
WAIT_S = 10.0
"""A change takes milliseconds: who has not let go after this time is stuck."""


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
        attempt = FileLock(open_lock(LOCK_NAME, directory, path))
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


def _refusal(pid: int, path: str) -> ConflictError:
    who = f"process {pid}" if pid else "another process"
    step = f"see what it is (ps -p {pid}), and try again" if pid else "try again when it has ended"
    what = f"the configuration is being changed by {who}, which has not let go of it for {WAIT_S:g} s"
    return ConflictError(what, where=path, next_step=step)

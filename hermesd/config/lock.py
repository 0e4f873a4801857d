"""One change of a profile's configuration files at a time, whichever process makes it."""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import threading
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermesd.home import Profile

P = ParamSpec("P")
T = TypeVar("T")

_held = threading.local()


@contextlib.contextmanager
def changing(profile: Profile) -> Iterator[None]:
    """Hold flock(2) on the profile's directory, which ``activate`` holds too; a thread may enter it again.

    A profile without a directory has nothing that a second change could undo. Waits for as long as it takes.
    """
    paths: set[str] = _held.__dict__.setdefault("paths", set())
    path = str(profile.root)
    fd = -1 if path in paths else _opened(path)
    if fd < 0:
        yield
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        paths.add(path)
        try:
            yield
        finally:
            paths.discard(path)
    finally:
        os.close(fd)


def exclusive(change: Callable[Concatenate[Profile, P], T]) -> Callable[Concatenate[Profile, P], T]:
    """A function that reads and writes a profile's files, made to do so alone."""

    @functools.wraps(change)
    def alone(profile: Profile, /, *args: P.args, **options: P.kwargs) -> T:
        with changing(profile):
            return change(profile, *args, **options)

    return alone


def _opened(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1  # not there, or not ours: what is read or written in it next says so

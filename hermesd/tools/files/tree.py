"""Walking a directory below the workspace: bounded, no link followed, nothing protected entered."""

from __future__ import annotations

import fnmatch
import os
import stat
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermesd.tools.files.paths import DIRECTORY_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.tools.files.paths import Located

MAX_DEPTH = 64
SKIPPED_DIRECTORIES = frozenset({".git", ".hg", ".svn", ".venv", "__pycache__", "node_modules"})


@dataclass(slots=True)
class Budget:
    """What one walk may cost; ``spent`` names the bound that was reached. ``stop`` ends it from another thread."""

    entries: int = 50_000
    seconds: float = 20.0
    spent: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    _until: float = field(init=False)

    def __post_init__(self) -> None:
        self._until = time.monotonic() + self.seconds

    def take(self) -> bool:
        """Account for one entry; False when the walk must end."""
        self.entries -= 1
        if self.entries < 0:
            self.spent = "there are too many files"
        return self.in_time()

    def in_time(self) -> bool:
        """Whether the walk may go on, without accounting for anything."""
        if self.stop.is_set():
            self.spent = "it was cancelled"
        elif time.monotonic() > self._until:
            self.spent = f"it took longer than {self.seconds:.0f} s"
        return not self.spent


@dataclass(frozen=True, slots=True)
class Entry:
    """One name found: its path relative to where the walk began, and the open directory that holds it."""

    path: str
    name: str
    directory: int
    found: os.stat_result

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.found.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.found.st_mode)


def walk(located: Located, budget: Budget, *, depth: int = MAX_DEPTH) -> Iterator[Entry]:
    """Everything below the located directory, sorted within each directory, a directory before what is in it.

    An entry's descriptor is valid until the next one is asked for. ``depth`` 1 is the directory itself only.
    """
    yield from _walk(located, located.directory, "", budget, depth)


def _walk(located: Located, directory: int, prefix: str, budget: Budget, depth: int) -> Iterator[Entry]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return
    for name in names:
        if not budget.take():
            return
        path = prefix + name
        if located.protection.refuses_read(located.real / path):
            continue
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except OSError:
            continue
        entry = Entry(path, name, directory, found)
        yield entry
        if entry.is_directory and depth > 1 and name not in SKIPPED_DIRECTORIES:
            yield from _descend(located, entry, budget, depth - 1)


def _descend(located: Located, entry: Entry, budget: Budget, depth: int) -> Iterator[Entry]:
    try:
        fd = os.open(entry.name, DIRECTORY_FLAGS, dir_fd=entry.directory)
    except OSError:
        return
    try:
        yield from _walk(located, fd, entry.path + "/", budget, depth)
    finally:
        os.close(fd)


def matches(glob: str, entry: Entry) -> bool:
    """Whether an entry's name, or its path if the pattern has a slash, matches; ``**/`` may stand for nothing."""
    if not glob:
        return True
    if "/" not in glob:
        return fnmatch.fnmatchcase(entry.name, glob)
    return any(fnmatch.fnmatchcase(entry.path, pattern) for pattern in (glob, glob.replace("**/", "")))

"""Files as a watch sees them: every look walks the tree, inotify(7) only says when it is worth looking.

A directory is watched before it is read, so nothing that is made in between goes unnoticed; what inotify lost, and what
changed while nobody watched, is found by the next look as well. Symbolic links are not followed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from hermesd.errors import ConfigError
from hermesd.triggers.watch_directories import ISDIR, ITSELF

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermesd.home import Profile
    from hermesd.store.watches import Changes
    from hermesd.triggers.watch_directories import Directories
    from hermesd.triggers.watch_pattern import Pattern

MAX_FILES = 20_000
MAX_DIRECTORIES = 4_000
CLOCK_TICK_S = 0.02
"""A file's times come from a clock that is behind by up to one tick of the kernel."""

_TRIES = 20
_LIMITER = trio.CapacityLimiter(2)


class FileSource:
    """The files of some patterns (``triggers.watch.Source``), and a listener of the directories they lie in.

    ``home`` is the daemon's own directory: it is left out, unless a pattern begins in it.
    """

    def __init__(self, patterns: Sequence[Pattern], directories: Directories, *, home: str = "") -> None:
        self._patterns = patterns
        self._directories = directories
        self._home = home
        self._changed: Callable[[], None] = lambda: None

    async def run(self, changed: Callable[[], None], *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled."""
        self._changed = changed
        try:
            task_status.started()
            await trio.sleep_forever()
        finally:
            self._changed = lambda: None
            self._directories.keep(self, ())

    async def look(self) -> dict[str, str]:
        """Path → size and time of every file. Raises ConfigError for too many, and for what cannot be read."""
        walk = Walk(self._watch, self._home)
        await trio.to_thread.run_sync(walk.all, self._patterns, limiter=_LIMITER)
        self._directories.keep(self, walk.numbers)
        return walk.files

    def _watch(self, directory: str) -> int:
        return self._directories.add(directory, Path(directory), self)

    async def own(self, changes: Changes, since: float, until: float) -> Changes:
        """Those whose status changed (st_ctime) in that time; for what is gone its directory's tells."""
        return await trio.to_thread.run_sync(changed_between, changes, since, until, limiter=_LIMITER)

    # -- what inotify says ---------------------------------------------------------------------------------------------

    def happened(self, directory: str, name: str, mask: int) -> None:
        """Worth a look if it may concern a file of the patterns."""
        path = f"{directory.rstrip('/')}/{name}"
        if mask & ITSELF or any(self._concerns(pattern, path, mask) for pattern in self._patterns):
            self._changed()

    @staticmethod
    def _concerns(pattern: Pattern, path: str, mask: int) -> bool:
        if pattern.matches(path):
            return True
        on_the_way = f"{pattern.base}/".startswith(f"{path}/")
        return on_the_way or bool(mask & ISDIR and pattern.descends(path))

    def lost(self) -> None:
        """Look at everything."""
        self._changed()


class Walk:
    """One look at a tree: ``files`` found, and the ``numbers`` that ``watch(directory)`` gave; ``home`` is left out."""

    def __init__(self, watch: Callable[[str], int], home: str = "") -> None:
        self._watch = watch
        self._home = home
        self.files: dict[str, str] = {}
        self.numbers: set[int] = set()

    def all(self, patterns: Sequence[Pattern]) -> None:
        """Blocks; see ``FileSource.look``."""
        for pattern in patterns:
            if self._reach(pattern):
                self._walk(pattern)

    def _reach(self, pattern: Pattern) -> bool:
        """Watch the directory in which the pattern begins, or the nearest above it that is there."""
        for _ in range(_TRIES):
            goal = pattern.base if pattern.parts or is_directory(pattern.base) else parent_of(pattern.base)
            here, missing = goal, ""
            while not self._add(here):
                here, missing = parent_of(here), here
            if not missing:
                return True
            if not is_directory(missing):  # otherwise it was made after the attempt to watch it
                return False
        return False

    def _walk(self, pattern: Pattern) -> None:
        if not pattern.parts and not is_directory(pattern.base):
            self._take(pattern.base)
            return
        waiting = [pattern.base]
        while waiting:
            directory = waiting.pop()
            if directory != pattern.base and not self._add(directory, or_else_skip=True):
                continue
            for entry in _entries(directory):
                if entry.is_dir(follow_symlinks=False):
                    if pattern.descends(entry.path) and entry.path != self._home:
                        waiting.append(entry.path)
                elif pattern.matches(entry.path):
                    self._take(entry.path)

    def _add(self, directory: str, *, or_else_skip: bool = False) -> bool:
        """Watch it; False when it is not there (any more)."""
        try:
            self.numbers.add(self._watch(directory))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if or_else_skip:
                return False  # a directory below that is not ours to read
            raise ConfigError(
                f"{directory} cannot be watched: {error.strerror}",
                next_step="give the daemon's user the right to read it",
            ) from None
        if len(self.numbers) > MAX_DIRECTORIES:
            raise ConfigError(
                f"there are more than {MAX_DIRECTORIES} directories to watch",
                where=directory,
                next_step="narrow the pattern",
            )
        return True

    def _take(self, path: str) -> None:
        try:
            found = os.lstat(path)
        except OSError:
            return  # gone meanwhile
        if not (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode)):
            return
        self.files[thing_of(path)] = f"{found.st_size} {found.st_mtime_ns}"
        if len(self.files) > MAX_FILES:
            raise ConfigError(
                f"there are more than {MAX_FILES} files to watch", where=path, next_step="narrow the pattern"
            )


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return []  # gone meanwhile, or not ours to read


def is_directory(path: str) -> bool:
    """Whether it is one itself, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def parent_of(path: str) -> str:
    """The directory it stands in."""
    return path.rpartition("/")[0] or "/"


def home_of(profile: Profile) -> str:
    """The real path of the home that a profile belongs to."""
    return os.path.realpath(profile.home.root)


def thing_of(path: str) -> str:
    """A path as text that can be stored: bytes that are no UTF-8 as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def changed_between(changes: Changes, since: float, until: float) -> Changes:
    """See ``FileSource.own``."""
    return {
        thing: value for thing, value in changes.items() if since - CLOCK_TICK_S <= _changed_at(thing, value) <= until
    }


def _changed_at(thing: str, value: str | None) -> float:
    path = thing if value is not None else parent_of(thing)
    while path:
        try:
            return os.lstat(path).st_ctime
        except FileNotFoundError:
            if path == "/":
                break
            path = parent_of(path)
        except OSError:
            break
    return 0.0

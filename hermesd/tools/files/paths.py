"""From a path the model wrote to an open directory and a name in it, without ever leaving the workspace.

Resolution goes one component at a time through directory descriptors (openat(2) with O_NOFOLLOW), as openat2(2) does
with RESOLVE_BENEATH: a symbolic link is expanded by hand and must stay inside, ``..`` cannot climb above the root, and
a directory swapped for a link under our feet is an error and not a way out.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hermesd.errors import HermesError
from hermesd.tools.files.protected import Protection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.tools.base import ToolContext

MAX_LINKS = 40  # as MAXSYMLINKS of path_resolution(7)
DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PathError(HermesError):
    """A path that cannot be used; ``what`` is the sentence for the model."""


class MissingError(PathError):
    """Something on the way does not exist."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where one call's paths may lead: below ``workspace``, and for reading below ``read_roots`` too."""

    workspace: Path
    read_roots: tuple[Path, ...]
    protection: Protection

    @classmethod
    def of(cls, context: ToolContext) -> Reach:
        """The reach of a tool call."""
        return cls(context.workspace, context.read_roots, Protection.of(context.profile))

    @contextlib.contextmanager
    def locate(self, path: str, *, write: bool = False, create_parents: bool = False) -> Iterator[Located]:
        """Resolve ``path`` (relative to the workspace, or absolute and inside). Blocking: call it in a thread.

        Raises PathError, which also stands for the OSErrors of the way there.
        """
        root, relative = self._root(path, write=write)
        walk = _Walk(path, root)
        try:
            try:
                if root == self.workspace:
                    root.mkdir(parents=True, exist_ok=True, mode=0o700)
                walk.run(relative, create=create_parents)
            except OSError as error:
                raise _failure(path, error) from error
            located = Located(path, walk.real, walk.fds[-1], walk.leaf, self.protection)
            if self.protection.refuses_read(located.real):
                raise PathError(f"{path!r} holds secrets of the agent's home and cannot be read or written")
            if write and self.protection.refuses_write(located.real):
                raise PathError(
                    f"{path!r} belongs to the agent's home or to git itself and is not for file tools to write"
                )
            yield located
        finally:
            walk.close()

    def check(self, path: str) -> None:
        """Raise PathError if ``path`` leads outside or to a secret; one that does not exist is no offence."""
        try:
            with self.locate(path) as located:
                if located.name and self.protection.is_secret_file(os.stat(located.name, dir_fd=located.directory)):
                    raise PathError(f"{path!r} is a secret of the agent's home and cannot be read")
        except (MissingError, FileNotFoundError):
            return

    def _root(self, path: str, *, write: bool) -> tuple[Path, str]:
        """The root that an absolute or relative path belongs to, and the rest of the path."""
        if "\0" in path or not _encodable(path):
            raise PathError("a path cannot contain a NUL character or a lone surrogate")
        if path == "~" or path.startswith("~/"):
            raise PathError(f"{path!r} is outside the workspace; give a path relative to the workspace")
        if not path.startswith("/"):
            return self.workspace, path
        for root in (self.workspace, *(() if write else self.read_roots)):
            for spelling in (str(root), os.path.realpath(root)):
                if (rest := _below(path, spelling)) is not None:
                    return root, rest
        raise PathError(f"{path!r} is outside the workspace {str(self.workspace)!r}; give a path relative to it")


@dataclass(frozen=True, slots=True)
class Located:
    """The end of a path: ``name`` in the open directory ``directory``, or that directory itself when name is empty.

    ``name`` is no symbolic link (it may not exist); whoever opens it still says O_NOFOLLOW. ``real`` is for messages
    and for rules about places. The descriptor lives as long as ``Reach.locate``.
    """

    path: str
    real: Path
    directory: int
    name: str
    protection: Protection

    def open_to_read(self) -> int:
        """A descriptor of the regular file; raises PathError for anything else. Never blocks on a FIFO or device."""
        if not self.name:
            raise PathError(f"{self.path!r} is a directory; see list_files")
        return open_regular(self.directory, self.name, self.path, self.protection)


def open_regular(directory: int, name: str, shown: str, protection: Protection) -> int:
    """Open ``name`` for reading if it is a regular file and no secret; raises PathError."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError as error:
        raise _failure(shown, error) from error
    found = os.fstat(fd)
    if stat.S_ISREG(found.st_mode) and not protection.is_secret_file(found):
        return fd
    os.close(fd)
    what = "a secret of the agent's home" if stat.S_ISREG(found.st_mode) else "not a regular file"
    raise PathError(f"{shown!r} is {what} and cannot be read")


@dataclass(slots=True)
class _Walk:
    """The state of one resolution: a stack of open directories, the root first."""

    path: str
    root: Path
    names: list[str] = field(default_factory=list)
    fds: list[int] = field(default_factory=list)
    leaf: str = ""
    links: int = 0
    base: Path = field(init=False)

    def __post_init__(self) -> None:
        self.base = Path(os.path.realpath(self.root))

    @property
    def real(self) -> Path:
        parts = [*self.names, self.leaf] if self.leaf else self.names
        return self.base.joinpath(*parts)

    def run(self, relative: str, *, create: bool) -> None:
        self.fds.append(os.open(self.base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        todo = deque(relative.split("/"))
        while todo:
            part = todo.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                self._climb()
                continue
            self._enter(part, todo, create=create)

    def _enter(self, part: str, todo: deque[str], *, create: bool) -> None:
        last = not any(item not in ("", ".") for item in todo)
        try:
            mode = os.stat(part, dir_fd=self.fds[-1], follow_symlinks=False).st_mode
        except FileNotFoundError:
            if last:
                self.leaf = part
                return
            if not create or ".." in todo:
                raise
            os.mkdir(part, dir_fd=self.fds[-1])
            mode = stat.S_IFDIR
        if stat.S_ISLNK(mode):
            self._follow(part, todo)
        elif stat.S_ISDIR(mode):
            self.fds.append(os.open(part, DIRECTORY_FLAGS, dir_fd=self.fds[-1]))
            self.names.append(part)
        elif last:
            self.leaf = part
        else:
            raise PathError(f"{self.path!r} goes through {part!r}, which is not a directory")

    def _follow(self, part: str, todo: deque[str]) -> None:
        self.links += 1
        if self.links > MAX_LINKS:
            raise PathError(f"{self.path!r} goes through too many symbolic links")
        target = os.readlink(part, dir_fd=self.fds[-1])
        if target.startswith("/"):
            inside = _below(target, str(self.base))
            if inside is None:
                inside = _below(target, str(self.root))
            if inside is None:
                raise PathError(f"{self.path!r} is a symbolic link that leaves the workspace")
            target = inside
            while len(self.fds) > 1:
                self._climb()
        todo.extendleft(reversed(target.split("/")))

    def _climb(self) -> None:
        if len(self.fds) == 1:
            raise PathError(f"{self.path!r} is outside the workspace; give a path relative to it")
        os.close(self.fds.pop())
        self.names.pop()

    def close(self) -> None:
        while self.fds:
            os.close(self.fds.pop())


def _below(path: str, root: str) -> str | None:
    """What follows ``root`` in ``path``, or None when it does not begin with it."""
    if path == root:
        return ""
    prefix = root.rstrip("/") + "/"
    return path[len(prefix) :] if path.startswith(prefix) else None


def _encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _failure(path: str, error: OSError) -> PathError:
    if isinstance(error, FileNotFoundError):
        return MissingError(f"{path!r} does not exist")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return PathError(f"{path!r} changed while it was being opened, or is a link where none may be")
    return PathError(f"{path!r} cannot be used: {error.strerror}")

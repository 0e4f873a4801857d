"""Profiles on disk: made, renamed and removed so that a crash leaves either all of one or none of it.

A profile is staged as ``profiles/.new-…`` and renamed into place; a removed one is first renamed to
``profiles/.gone-…``. Both are no profile names, and ``sweep`` removes what a crash left of them. Everything below
``profiles`` is reached through descriptors of directories that are not followed as links.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from hermesd.config.lock import changing
from hermesd.errors import ConfigError, ConflictError, NotFoundError, UsageError
from hermesd.home import (
    DEFAULT_PROFILE,
    Profile,
    check_private,
    check_profile_name,
    make_private_directory,
    read_bounded,
    write_private,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from hermesd.home import Home

COPIED_FILES = ("config.yaml", ".env", "SOUL.md")
MAX_COPIED_BYTES = 16 * 1024 * 1024

_STAGED, _GONE = ".new-", ".gone-"
_RENAME_NOREPLACE = 1  # renameat2(2)


class ProfileStore:
    """The profiles of one home. Methods block on the disk: call them from a thread."""

    def __init__(self, home: Home) -> None:
        self.home = home

    # -- making, renaming, removing ------------------------------------------------------------------------------------

    def create(self, name: str, *, clone_from: str = "", description: str = "") -> Profile:
        """Make a profile with an empty workspace; ``clone_from`` copies config.yaml, .env and SOUL.md of another.

        Raises UsageError (name), ConflictError (exists), NotFoundError (``clone_from``), ConfigError, OSError.
        """
        check_profile_name(name)
        origin = self.home.profile(clone_from) if clone_from else None
        with self._directory() as directory:
            if _exists(name, directory):
                raise _taken(name)
            staged = f"{_STAGED}{name}-{os.urandom(6).hex()}"
            os.mkdir(staged, 0o700, dir_fd=directory)
            try:
                self._furnish(self.home.profile_root(staged), origin, description)
                _move(staged, name, directory)
            except BaseException:
                _remove_tree(staged, directory)
                raise
            os.fsync(directory)
        return Profile(name, self.home.profile_root(name))

    def rename(self, name: str, new_name: str) -> Profile:
        """Give a profile another name; if it was the current one it stays so.

        Raises UsageError, NotFoundError, ConflictError, ConfigError, OSError.
        """
        self._changeable(name, "renamed")
        check_profile_name(new_name)
        was_current = self.current() == name
        with self._directory() as directory:
            if _exists(new_name, directory):
                raise _taken(new_name)
            _move(name, new_name, directory)
            os.fsync(directory)
        if was_current:
            self.use(new_name)
        return Profile(new_name, self.home.profile_root(new_name))

    def delete(self, name: str) -> None:
        """Remove a profile with everything in it; links in it are removed, never followed.

        If it was the current one, ``default`` becomes that. Raises UsageError, NotFoundError, ConfigError, OSError.
        """
        self._changeable(name, "deleted")
        if self.current() == name:
            self.use(DEFAULT_PROFILE)
        with self._directory() as directory:
            gone = f"{_GONE}{name}-{os.urandom(6).hex()}"
            _move(name, gone, directory)
            os.fsync(directory)
            try:
                _remove_tree(gone, directory)
            except OSError as error:
                raise ConfigError(
                    f"the profile is gone, but not all of its files could be removed: {error.strerror}",
                    where=str(self.home.root / "profiles"),
                    next_step=f"remove what is left of it there: {_GONE}*",
                ) from error

    def sweep(self) -> list[str]:
        """Remove what a crash left of making or removing profiles; returns the names of those directories."""
        with self._directory() as directory:
            with os.scandir(directory) as rows:
                left = [row.name for row in rows if row.name.startswith((_STAGED, _GONE))]
            for name in left:
                _remove_tree(name, directory)
        return left

    # -- the current one -----------------------------------------------------------------------------------------------

    def current(self) -> str:
        """The profile that calls without ``-p`` mean: the one in ``active_profile`` if it exists, else default."""
        try:
            return self._named()
        except (OSError, ConfigError, UsageError, NotFoundError):
            return DEFAULT_PROFILE

    def misnamed(self) -> str:
        """What is wrong with ``active_profile``, '' when it names a profile or is not there."""
        try:
            self._named()
        except FileNotFoundError:
            return ""
        except (OSError, ConfigError, UsageError, NotFoundError) as error:
            return str(error).partition("\n")[0]
        return ""

    def _named(self) -> str:
        name = read_bounded(self._active_path, max_bytes=4096).decode("utf-8", "replace").strip()
        return self.home.profile(name).name if name else DEFAULT_PROFILE

    def use(self, name: str) -> None:
        """Make it the current one. Raises UsageError, NotFoundError, ConfigError, OSError."""
        write_private(self._active_path, f"{self.home.profile(name).name}\n".encode())

    @property
    def _active_path(self) -> Path:
        return self.home.root / "active_profile"

    # -- parts ---------------------------------------------------------------------------------------------------------

    def _changeable(self, name: str, done: str) -> None:
        if name == DEFAULT_PROFILE:
            raise UsageError(f"the profile 'default' cannot be {done}", next_step="it is the home directory itself")
        self.home.profile(name)

    @contextlib.contextmanager
    def _directory(self) -> Iterator[int]:
        path = self.home.root / "profiles"
        make_private_directory(path)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise ConfigError(
                "is a symbolic link", where=str(path), next_step="put the directory itself there"
            ) from None
        try:
            check_private(fd, path)
            yield fd
        finally:
            os.close(fd)

    def _furnish(self, root: Path, origin: Profile | None, description: str) -> None:
        make_private_directory(root / "workspace")
        if description:
            text = description.replace("\\", "\\\\").replace('"', '\\"')
            clean = "".join(char if char.isprintable() else " " for char in text)
            write_private(root / "profile.yaml", f'description: "{clean}"\n'.encode(), durable=False)
        if origin is not None:
            _copy(origin, root)


def _copy(origin: Profile, root: Path) -> None:
    """All as they are at one moment, so that no ``${VAR}`` of config.yaml is missing in .env."""
    found = {}
    with changing(origin):
        for name in COPIED_FILES:
            with contextlib.suppress(FileNotFoundError):
                found[name] = _copied(origin.root / name)
    for name, data in found.items():
        write_private(root / name, data)


def _copied(path: Path) -> bytes:
    try:
        return read_bounded(path, max_bytes=MAX_COPIED_BYTES)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise ConfigError("is a symbolic link", where=str(path), next_step="put the file itself there") from None


def _taken(name: str) -> ConflictError:
    return ConflictError(f"there is a profile {name!r} already", next_step="choose another name")


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _move(name: str, new_name: str, directory: int) -> None:
    """Rename within the directory, never over something: rename(2) alone would replace an empty directory."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        arguments = directory, os.fsencode(name), directory, os.fsencode(new_name), _RENAME_NOREPLACE
        if libc.renameat2(*arguments) == 0:
            return
        failed = ctypes.get_errno()
        if failed == errno.EEXIST:
            raise _taken(new_name)
        if failed not in (errno.EINVAL, errno.ENOSYS):  # a file system that does not know the flag
            raise OSError(failed, os.strerror(failed), name)
    os.rename(name, new_name, src_dir_fd=directory, dst_dir_fd=directory)


def _remove_tree(name: str, directory: int) -> None:
    """Remove a directory of any depth with two descriptors: what is found below is first moved up beside it.

    Directories without permissions (module caches have such) are made ours. No link is followed. Raises OSError.
    """
    pending = [name]
    while pending:
        current = pending.pop()
        fd = _open_to_empty(current, directory)
        try:
            with os.scandir(fd) as rows:
                found = [(row.name, row.is_dir(follow_symlinks=False)) for row in rows]
            for child, is_directory in found:
                if not is_directory:
                    os.unlink(child, dir_fd=fd)
                    continue
                os.close(_open_to_empty(child, fd))
                moved = f"{_GONE}{os.urandom(12).hex()}"
                os.rename(child, moved, src_dir_fd=fd, dst_dir_fd=directory)
                pending.append(moved)
        finally:
            os.close(fd)
        os.rmdir(current, dir_fd=directory)


def _open_to_empty(name: str, directory: int) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=directory)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=directory)
        fd = os.open(name, flags, dir_fd=directory)
    try:
        if os.fstat(fd).st_mode & 0o700 != 0o700:
            os.fchmod(fd, 0o700)
    except BaseException:
        os.close(fd)
        raise
    return fd

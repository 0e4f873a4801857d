"""The state directory on the host: its directories, links and files, made right without trusting what lies there.

STATE/                   root's, so that nothing in it can be renamed from inside    → /data
  current-package        link to the package
  .gc-root               link that keeps it from being collected
  .hermes/               HERMES_HOME, the agent's; in it .env, and .container-mode, which is root's
  home/                  the agent's                                                → /home/USER
  workspace/             the agent's
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from hermesd.config.lock import locked
from hermesd.deploy.container.commands import marker_text
from hermesd.deploy.container.environment import HEADER, env_text
from hermesd.deploy.container.files import (
    exists,
    link_target,
    make_directory,
    opened,
    read_file,
    replace_link,
)
from hermesd.deploy.replace_file import replace_file
from hermesd.errors import ConfigError, DeniedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.deploy.container.manifest import Manifest

MARKER = ".container-mode"
MAX_FILE_BYTES = 2 * 1024 * 1024
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class StateDir:
    """An open and locked state directory. ``changes`` says what was done, or with ``dry_run`` what would be."""

    def __init__(self, manifest: Manifest, fd: int, *, dry_run: bool) -> None:
        self._manifest = manifest
        self._fd = fd
        self._dry_run = dry_run
        self.changes: list[str] = []

    @property
    def _owner(self) -> tuple[int, int] | None:
        """Who the agent is, to root; an ordinary user can only be the agent."""
        container = self._manifest.container
        return (container.uid, container.gid) if os.geteuid() == 0 else None

    def prepare(self) -> None:
        """Bring everything into its form. Raises ConfigError for what stands in the way, and OSError.

        Raises ConflictError when another process keeps the lock of .env for itself.
        """
        self._keep()
        home = PurePosixPath(self._manifest.home).relative_to(self._manifest.state_dir)
        for directory in (home, PurePosixPath("home"), PurePosixPath("workspace")):
            self._make(directory)
        self._link("current-package", self._manifest.package)
        if not self._manifest.package.startswith("/nix/store/"):
            self._link(".gc-root", self._manifest.package)
        with contextlib.suppress(FileNotFoundError), self._below(home) as fd:  # not there yet in a dry run
            self._write(fd, MARKER, marker_text(self._manifest).encode(), mode=0o644, owner=None)
            self._write_env(fd)

    def verify(self) -> None:
        """Raise ConfigError unless the directories that are mounted are what they were made as.

        docker follows links when it starts a container; while that is stopped, nothing of the agent runs.
        """
        home = PurePosixPath(self._manifest.home).relative_to(self._manifest.state_dir)
        for directory in (home, PurePosixPath("home"), PurePosixPath("workspace")):
            try:
                with self._below(directory):
                    pass
            except FileNotFoundError:
                raise ConfigError(
                    "is missing",
                    where=f"{self._manifest.state_dir}/{directory}",
                    next_step="run: hermesctl container ensure",
                ) from None

    def _keep(self) -> None:
        """The directory itself: root's, or where we are not root ours, and nobody else's to write to."""
        found = os.fstat(self._fd)
        path = self._manifest.state_dir
        container = self._manifest.container
        if found.st_mode & OTHERS_WRITE:
            raise ConfigError("others may write to it", where=path, next_step=f"chmod go-w {path}")
        if found.st_uid == os.geteuid():
            return
        if found.st_uid != container.uid or os.geteuid() != 0:
            raise ConfigError(f"belongs to uid {found.st_uid}", where=path, next_step=f"chown root {path}")
        self.changes.append(f"give {path} to root")
        if not self._dry_run:
            os.fchown(self._fd, 0, container.gid)

    def _make(self, directory: PurePosixPath) -> None:
        """Every component, the last one the agent's."""
        with contextlib.ExitStack() as stack:
            fd = self._fd
            for depth, name in enumerate(directory.parts, 1):
                where = f"{self._manifest.state_dir}/{PurePosixPath(*directory.parts[:depth])}"
                is_new = not exists(name, below=fd)
                if is_new:
                    self.changes.append(f"make {where}")
                    if self._dry_run:
                        return
                    make_directory(name, below=fd, mode=0o750)
                fd = stack.enter_context(opened(name, below=fd, where=where))
                self._own(fd, where, is_new=is_new)

    def _own(self, fd: int, where: str, *, is_new: bool) -> None:
        found = os.fstat(fd)
        if is_new:
            os.fchmod(fd, 0o750)  # whatever the umask
            if self._owner:
                os.fchown(fd, *self._owner)
        elif found.st_uid not in (os.geteuid(), self._manifest.container.uid):
            raise ConfigError(f"belongs to uid {found.st_uid}", where=where, next_step="look what it is, and move it")
        elif self._owner and found.st_uid != self._owner[0]:
            self.changes.append(f"give {where} to uid {self._owner[0]}")
            if not self._dry_run:
                os.fchown(fd, *self._owner)

    def _link(self, name: str, target: str) -> None:
        if link_target(name, below=self._fd) != target:
            where = f"{self._manifest.state_dir}/{name}"
            self.changes.append(f"link {where} to {target}")
            if not self._dry_run:
                replace_link(name, target, below=self._fd, where=where)

    def _write_env(self, fd: int) -> None:
        """The .env, while nobody else changes it. Where it is right already, nobody is waited for."""
        if all(self._is_there(fd, name, data, 0o600, self._owner) for name, data in self._env_files(fd)):
            return
        with contextlib.nullcontext() if self._dry_run else locked(fd, self._manifest.home):
            for name, data in self._env_files(fd):  # once more: it may have been changed until now
                self._write(fd, name, data, mode=0o600, owner=self._owner)

    def _env_files(self, fd: int) -> list[tuple[str, bytes]]:
        """Nothing, if the manifest declares none and none of ours is there; a foreign one is kept beside."""
        env = self._manifest.env
        old = read_file(".env", below=fd, max_bytes=MAX_FILE_BYTES)
        is_ours = old is not None and old.startswith(HEADER.encode())
        if not env.values and not env.files and not is_ours:
            return []
        kept = [(".env.before-container", old)] if old and not is_ours else []
        return [*kept, (".env", env_text(self._manifest).encode())]

    def _write(self, fd: int, name: str, data: bytes, *, mode: int, owner: tuple[int, int] | None) -> None:
        if self._is_there(fd, name, data, mode, owner):
            return
        self.changes.append(f"write {self._manifest.home}/{name}")
        if not self._dry_run:
            replace_file(name, data, below=fd, mode=mode, owner=owner)

    def _is_there(self, fd: int, name: str, data: bytes, mode: int, owner: tuple[int, int] | None) -> bool:
        return read_file(name, below=fd, max_bytes=MAX_FILE_BYTES) == data and self._is_as(fd, name, mode, owner)

    def _is_as(self, fd: int, name: str, mode: int, owner: tuple[int, int] | None) -> bool:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        return found.st_mode & 0o777 == mode and found.st_uid == (owner[0] if owner else os.geteuid())

    @contextlib.contextmanager
    def _below(self, directory: PurePosixPath) -> Iterator[int]:
        with contextlib.ExitStack() as stack:
            fd = self._fd
            for name in directory.parts:
                fd = stack.enter_context(opened(name, below=fd, where=f"{self._manifest.state_dir}/{directory}"))
            yield fd


@contextlib.contextmanager
def state_dir(manifest: Manifest, *, dry_run: bool = False, make: bool = False) -> Iterator[StateDir]:
    """The state directory, locked against another call; ``make`` creates it.

    Raises ConfigError when it is missing or no directory, DeniedError when we cannot act for the agent's user.
    """
    uid = manifest.container.uid
    if os.geteuid() not in (0, uid):
        raise DeniedError(
            f"files of uid {uid} can be made by root or that user", next_step="use sudo, or set container.uid to yours"
        )
    path = manifest.state_dir
    if make and not dry_run:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            Path(path).mkdir(mode=0o750)
            if os.geteuid() == 0:
                os.chown(path, 0, manifest.container.gid, follow_symlinks=False)
    try:
        with opened(path, where=path) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield StateDir(manifest, fd, dry_run=dry_run)
    except FileNotFoundError as error:
        if error.filename != path:
            raise
        raise ConfigError("does not exist", where=path, next_step="run: hermesctl container ensure") from None

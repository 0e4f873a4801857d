"""$HERMES_HOME: its layout, its profiles, and the only way files in it are written.

Standard library only: hermesctl imports this on its way to the socket (and dataclasses would cost it inspect and ast).
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hermesd import failpoint
from hermesd.errors import ConfigError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROFILE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)
RESERVED_NAMES = frozenset({"default", "hermes", "root", "sudo", "test", "tmp"})
DEFAULT_PROFILE = "default"
SOCKET_NAME = "hermesd.sock"
_MARKS = ("state.db", ".managed")
"""A directory with one of these is a home: a hermesd has opened it, or an activation has furnished it."""
MAX_SOCKET_PATH_BYTES = 107  # sun_path of unix(7), less its NUL


def check_profile_name(name: str) -> str:
    """Return ``name`` if a new profile may bear it; raise UsageError otherwise.

    The rule is hermes-agent's, and the same at RPC, CLI, archives and directory scan.
    """
    if not PROFILE_NAME.fullmatch(name):
        raise UsageError(
            f"{name[:80]!r} is not a profile name",
            next_step="use 1 to 64 of a-z 0-9 _ -, beginning with a letter or digit",
        )
    if name in RESERVED_NAMES:
        raise UsageError(f"the profile name {name!r} is reserved", next_step="choose another name")
    return name


class Profile(NamedTuple):
    """One agent's own directory: the scope that every operation names explicitly."""

    name: str
    root: Path

    @property
    def home(self) -> Home:
        """The home that it is a profile of; of the ``default`` of a daemon of its own, the one around."""
        return Home(self.root).around if self.name == DEFAULT_PROFILE else Home(self.root.parent.parent)

    @property
    def told_name(self) -> str:
        """What people call it after ``hermesctl -p``: the ``default`` of a daemon of its own is a profile around it."""
        return self.root.name if self.name == DEFAULT_PROFILE and self.home.root != self.root else self.name

    @property
    def config_path(self) -> Path:
        """The profile's config.yaml, which may not exist."""
        return self.root / "config.yaml"

    @property
    def env_path(self) -> Path:
        """The profile's .env, which may not exist."""
        return self.root / ".env"

    @property
    def workspace(self) -> Path:
        """The directory that file and terminal tools work in unless configured otherwise."""
        return self.root / "workspace"

    @property
    def soul_path(self) -> Path:
        """SOUL.md: the agent's identity, which may not exist."""
        return self.root / "SOUL.md"

    @property
    def gateway_state_path(self) -> Path:
        """gateway_state.json: the desired and the last known state of the profile's gateway."""
        return self.root / "gateway_state.json"


class Home(NamedTuple):
    """The directory tree one hermesd owns."""

    root: Path

    @classmethod
    def from_environment(cls) -> Home:
        """The home that $HERMES_HOME names, or ~/.hermes."""
        named = os.environ.get("HERMES_HOME")
        root = Path(named).expanduser() if named else Path.home() / ".hermes"
        return cls(root.absolute())

    @property
    def around(self) -> Home:
        """This home; of one that is a profile of another (``isolation: process``), that other.

        It is, if it bears a profile's name in the directory ``profiles`` of a home. A directory that only happens to
        be called ``profiles`` (/srv/profiles/hermes) makes its parent no home.
        """
        name, profiles = self.root.name, self.root.parent
        is_profile = profiles.name == "profiles" and PROFILE_NAME.fullmatch(name) and name not in RESERVED_NAMES
        return Home(profiles.parent) if is_profile and _is_home(profiles.parent) else self

    @property
    def state_path(self) -> Path:
        """state.db."""
        return self.root / "state.db"

    @property
    def pid_path(self) -> Path:
        """hermesd.pid, whose flock is the claim to this home."""
        return self.root / "hermesd.pid"

    @property
    def logs(self) -> Path:
        """Directory of hermesd.log and boot.log."""
        return self.root / "logs"

    @property
    def socket_path(self) -> Path:
        """hermesd.sock, or a path below $XDG_RUNTIME_DIR when the usual one is too long for an AF_UNIX address."""
        usual = self.root / SOCKET_NAME
        if len(os.fsencode(usual)) <= MAX_SOCKET_PATH_BYTES:
            return usual
        import hashlib

        # The directory is checked to be ours and 0700 before a socket is bound in it.
        runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/hermesd-{os.getuid()}")  # noqa: S108 - checked
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return runtime / "hermesd" / f"{digest}.sock"

    @property
    def default_profile(self) -> Profile:
        """The root itself."""
        return Profile(DEFAULT_PROFILE, self.root)

    def profile(self, name: str) -> Profile:
        """The existing profile called ``name``; raises UsageError or NotFoundError."""
        if name == DEFAULT_PROFILE:
            return self.default_profile
        check_profile_name(name)
        found = self.profile_root(name)
        if found.is_symlink() or not found.is_dir():
            raise NotFoundError(f"no profile {name!r}", next_step="see `hermesctl profile list`")
        return Profile(name, found)

    def profile_root(self, name: str) -> Path:
        """Where a profile of this (checked) name lives or would live."""
        return self.root / "profiles" / name

    def profiles(self) -> list[Profile]:
        """Every profile, ``default`` first, then by name; directories with other names are not profiles."""
        found = [self.default_profile]
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(self.root / "profiles") as rows:
            names = sorted(row.name for row in rows if row.is_dir(follow_symlinks=False))
            for name in names:
                if PROFILE_NAME.fullmatch(name) and name not in RESERVED_NAMES:
                    found.append(Profile(name, self.profile_root(name)))
        return found

    def create(self) -> None:
        """Make the root and its private directories, 0700; raise ConfigError when that cannot be done."""
        try:
            make_private_directory(self.root)
            make_private_directory(self.logs)
            make_private_directory(self.root / "profiles")
        except OSError as error:
            raise ConfigError(
                f"the home directory cannot be used: {error.strerror}",
                where=str(error.filename or self.root),
                next_step="make it writable for this user, or set HERMES_HOME to another directory",
            ) from error


def _is_home(directory: Path) -> bool:
    return any(os.path.lexists(directory / mark) for mark in _MARKS)


def make_private_directory(path: Path) -> None:
    """Create ``path`` (and parents) with mode 0700 whatever the umask; refuse one that others may write.

    Raises OSError, or ConfigError when it belongs to someone else or is group- or world-writable.
    """
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open_directory(path) as fd:
        check_private(fd, path)


@contextlib.contextmanager
def open_directory(path: Path) -> Iterator[int]:
    """A descriptor of the directory ``path``; its last component may not be a symbolic link below a home."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def check_private(fd: int, path: Path) -> None:
    """Raise ConfigError unless the open file is owned by us (or root) and writable by nobody else."""
    found = os.fstat(fd)
    if found.st_uid not in (os.geteuid(), 0):
        raise ConfigError(
            f"owned by uid {found.st_uid}, not by {os.geteuid()}",
            where=str(path),
            next_step=f"chown {os.geteuid()} {path}",
        )
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError("others may write to it", where=str(path), next_step=f"chmod go-w {path}")


def write_private(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace ``path`` by ``data`` in one step: temporary file, fsync, rename, fsync of the directory.

    Nothing is ever followed or half-written: the temporary file is created with O_EXCL and O_NOFOLLOW beside the
    target through a directory descriptor. A symbolic link at ``path`` is refused with ConfigError. Raises OSError.
    """
    with open_directory(path.parent) as directory:
        check_private(directory, path.parent)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISLNK(os.stat(path.name, dir_fd=directory, follow_symlinks=False).st_mode):
                raise ConfigError("is a symbolic link", where=str(path), next_step=f"remove it: rm {path}")
        temporary = f".{path.name}.{os.urandom(6).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, mode, dir_fd=directory)
        try:
            try:
                os.fchmod(fd, mode)
                _write_all(fd, data)
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            failpoint.hit("home.before_rename")
            os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            failpoint.hit("home.after_rename")
        except BaseException:  # whatever it is goes on, and leaves no temporary file behind
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        if durable:
            os.fsync(directory)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_bounded(path: Path, *, max_bytes: int, follow: bool = False) -> bytes:
    """The contents of a regular file; ConfigError when over ``max_bytes``.

    A final symbolic link is not followed, but for ``follow``: what people write themselves, and keep elsewhere.

    Raises FileNotFoundError and other OSErrors as they come.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError("is not a regular file", where=str(path), next_step="remove it")
        if found.st_size > max_bytes:
            raise ConfigError(f"is larger than {max_bytes} bytes", where=str(path), next_step="make it smaller")
        with os.fdopen(os.dup(fd), "rb") as file:
            return file.read(max_bytes + 1)[:max_bytes]
    finally:
        os.close(fd)

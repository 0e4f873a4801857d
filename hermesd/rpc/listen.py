"""The listening socket: inherited, or bound where clients look for it, private from its first moment.

Nothing that lies at the path is trusted: only a stale socket of our own is removed. ``claim.claim_home`` comes first.
"""

from __future__ import annotations

import contextlib
import grp
import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermesd.errors import ConfigError, ConflictError
from hermesd.home import check_private, open_directory

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hermesd.deploy.inherited import Descriptor
    from hermesd.home import Home

STORED_NAME = "hermesd-listener"
"""Under this name the process supervisor keeps a listener that we bound ourselves, over a restart."""

BACKLOG = 4096
PROBE_TIMEOUT_S = 1.0


@dataclass(slots=True)
class Listener:
    """A non-blocking listening socket. ``path`` is None when it belongs to a socket unit (``unit``), which removes it.

    ``is_kept``: the process supervisor holds it too, so who connects during a restart waits for the next process.
    """

    socket: socket.socket
    path: Path | None
    identity: tuple[int, int] = (0, 0)
    is_kept: bool = False
    unit: str = ""

    def close(self) -> None:
        """Close it and, unless it is kept, remove the path if that still leads to this very socket."""
        self.socket.close()
        if self.path is None or self.is_kept:
            return
        with contextlib.suppress(OSError), open_directory(self.path.parent) as directory:
            found = os.stat(self.path.name, dir_fd=directory, follow_symlinks=False)
            if (found.st_dev, found.st_ino) == self.identity:
                os.unlink(self.path.name, dir_fd=directory)

    def share(self, group: str) -> None:
        """Let members of a group connect (who may do what is decided for each request), or nobody else when empty.

        Raises ConfigError when there is no such group or we may not give it the socket. An inherited socket keeps
        the mode its maker gave it.
        """
        if self.path is None:
            return
        try:
            if group:
                os.chown(self.path, -1, grp.getgrnam(group).gr_gid, follow_symlinks=False)
            self.path.chmod(0o660 if group else 0o600)
        except (KeyError, OSError) as error:
            raise ConfigError(
                f"the socket cannot be shared with group {group!r}: {error}",
                where="rpc.group",
                next_step="create the group and make this user a member of it, or remove the key",
            ) from error


def open_listener(home: Home, inherited: Iterable[Descriptor] = ()) -> Listener:
    """The socket unit's socket if there is one, else the one kept over a restart, else a new one at its usual path.

    Raises ConfigError (something not ours lies there, or an inherited
    descriptor is no socket of ours), ConflictError (a daemon answers there), OSError.
    """
    activated: Listener | None = None
    kept: Listener | None = None
    for name, fd in inherited:
        if name == STORED_NAME:
            kept = _kept(home.socket_path, fd) or kept
        elif activated is None:
            activated = Listener(_listening(fd), None, unit=name)
        else:
            activated.socket.close()
            raise _not_one_socket(fd)
    if activated is not None:
        if kept is not None:
            kept.socket.close()
        return activated
    if kept is not None:
        return kept
    path = home.socket_path
    if path.parent != home.root:
        _make_runtime_directory(path.parent)
    return bind(path)


def _listening(fd: int) -> socket.socket:
    """An inherited descriptor as a listening Unix stream socket; raises ConfigError when it is none."""
    found = socket.socket(fileno=fd)
    is_ours = found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM
    if not is_ours or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.detach()
        raise ConfigError(
            "the inherited descriptor is not a listening Unix stream socket",
            where=f"descriptor {fd}",
            next_step="give the unit ListenStream= with a path",
        )
    found.set_inheritable(False)
    found.setblocking(False)
    return found


def _kept(path: Path, fd: int) -> Listener | None:
    """The listener of the process before us, as long as clients still find it; None, and closed, otherwise."""
    found = _listening(fd)
    with contextlib.suppress(OSError):
        at_path = path.lstat()
        if stat.S_ISSOCK(at_path.st_mode) and at_path.st_uid == os.geteuid() and found.getsockname() == os.fspath(path):
            return Listener(found, path, (at_path.st_dev, at_path.st_ino), is_kept=True)
    found.close()
    return None


def _not_one_socket(fd: int) -> ConfigError:
    return ConfigError(
        "the socket unit hands over more than one socket",
        where=f"descriptor {fd}",
        next_step="leave one ListenStream= in it",
    )


def bind(path: Path) -> Listener:
    """Bind and listen at ``path``, mode 0600 from the beginning."""
    with open_directory(path.parent) as directory:
        check_private(directory, path.parent)
        _remove_stale(path, directory)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            before = os.umask(0o177)
            try:
                listener.bind(os.fspath(path))
            finally:
                os.umask(before)
            found = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
            if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
                raise _refusal("was replaced while it was being bound", path)
            listener.listen(BACKLOG)
        except BaseException:
            listener.close()
            raise
    return Listener(listener, path, (found.st_dev, found.st_ino))


def _remove_stale(path: Path, directory: int) -> None:
    try:
        found = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise _refusal("is a symbolic link", path)
    if not stat.S_ISSOCK(found.st_mode):
        raise _refusal("is not a socket", path)
    if found.st_uid != os.geteuid():
        raise _refusal(f"is owned by uid {found.st_uid}", path)
    if _answers(path):
        raise ConflictError(
            "another process listens here",
            where=str(path),
            next_step="stop it, or set HERMES_HOME to another directory",
        )
    os.unlink(path.name, dir_fd=directory)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(PROBE_TIMEOUT_S)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except (TimeoutError, BlockingIOError):
            return True  # its backlog is full, so it has one
    return True


def _make_runtime_directory(path: Path) -> None:
    """The directory of a fallback path, and under /tmp the one above it: ours, 0700, not a symbolic link."""
    in_runtime_dir = path.parent == _runtime_dir()
    for directory in (path,) if in_runtime_dir else (path.parent, path):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise _refusal("is not a directory", directory)
        if found.st_uid != os.geteuid():
            raise _refusal(f"is owned by uid {found.st_uid}", directory)
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigError("others may enter it", where=str(directory), next_step=f"chmod 0700 {directory}")


def _runtime_dir() -> Path | None:
    from pathlib import Path

    named = os.environ.get("XDG_RUNTIME_DIR")
    return Path(named) if named else None


def _refusal(what: str, path: Path) -> ConfigError:
    return ConfigError(what, where=str(path), next_step=f"find out who put it there, then remove it: rm -r {path}")

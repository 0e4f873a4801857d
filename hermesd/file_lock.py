"""flock(2) on a file of its own, waited for with a bound: the lock between processes, whatever it guards.

A process that ends lets go of it, however it ends; the file stays and says nothing. Who waits for it does so in a
thread, because the system call cannot be interrupted: a wait that was given up ends when the lock is free, and lets go
of it at once. Standard library only: hermesctl has it on its way to a changed setting.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading

from hermesd.errors import ConfigError

_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = frozenset({errno.ELOOP, errno.EISDIR, errno.ENXIO})
WAITER = "file-lock"
"""What the threads are called that ``FileLock.take`` waits in."""


class FileLock:
    """An attempt at the exclusive lock of the open file ``fd``, which belongs to it from now on.

    ``close`` lets go or gives up, and must be called in the end; it may be called while a thread is in ``wait``.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._guard = threading.Lock()
        self._is_waiting = False
        self._is_closed = False
        self.is_taken = False

    def take(self, wait_s: float) -> bool:
        """Whether it was had within ``wait_s`` seconds. Raises OSError."""
        if self._take_now():
            return True
        failed: list[OSError] = []

        def wait() -> None:
            try:
                self.wait()
            except OSError as error:
                failed.append(error)

        waiter = threading.Thread(target=wait, daemon=True, name=WAITER)
        waiter.start()
        waiter.join(max(0.0, wait_s))
        if failed:
            raise failed[0]
        with self._guard:
            return self.is_taken

    def wait(self) -> None:
        """Block until it is had, or was given up and became free. For a thread that may be abandoned. Raises OSError.

        One that begins only after ``close`` does nothing.
        """
        with self._guard:
            if self._is_closed:
                return
            self._is_waiting = True
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        except BaseException:
            self._waited(is_taken=False)
            raise
        self._waited(is_taken=True)

    def is_still(self, name: str, directory: int | None = None) -> bool:
        """Whether the file has this name yet: a lock on one that was removed or replaced keeps nobody away."""
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
        """Let go, or give up: then the thread that waits closes the file."""
        with self._guard:
            if self._is_closed:
                return
            self._is_closed = True
            if not self._is_waiting:
                self._let_go()

    def _take_now(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.is_taken = True
        return True

    def _waited(self, *, is_taken: bool) -> None:
        with self._guard:
            self._is_waiting = False
            self.is_taken = is_taken
            if self._is_closed:
                self._let_go()

    def _let_go(self) -> None:
        self.is_taken = False
        os.close(self._fd)


def open_lock(name: str, directory: int | None, where: str) -> int:
    """Open the lock file, made with 0600 whatever the umask, and by root for the user whose directory it is in.

    What lies there already is not trusted. Raises ConfigError for anything but a regular file, OSError.
    """
    refusal = ConfigError("is not a regular file", where=where, next_step=f"remove it: rm {where}")
    try:
        fd = _made_or_found(name, directory)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise refusal from None
        raise
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        os.close(fd)
        raise refusal
    if stat.S_IMODE(found.st_mode) != 0o600 and found.st_uid == os.geteuid() and found.st_nlink == 1:
        os.fchmod(fd, 0o600)
    return fd


def _made_or_found(name: str, directory: int | None) -> int:
    while True:
        try:
            fd = os.open(name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):  # it has gone since
                return os.open(name, _FLAGS, dir_fd=directory)
        else:
            _furnish(fd, directory)
            return fd


def _furnish(fd: int, directory: int | None) -> None:
    """A new file's mode, whatever the umask, and its owner: what root makes, the directory's user must be able to take.

    Only a new one's: one that was found may be a hard link to something else.
    """
    try:
        os.fchmod(fd, 0o600)
        if os.geteuid() == 0 and directory is not None:
            owner = os.fstat(directory)
            os.fchown(fd, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(fd)
        raise

"""One inotify instance for all watches: directories are added from threads, what happens is told on the loop."""

from __future__ import annotations

import contextlib
import errno
import threading
from typing import TYPE_CHECKING, Protocol

import trio

from hermesd.config import inotify
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

# <sys/inotify.h>
DELETE_SELF = 0x400
MOVE_SELF = 0x800
DONT_FOLLOW = 0x02000000
ISDIR = 0x40000000

_MASK = (
    inotify.MODIFY
    | inotify.CLOSE_WRITE
    | inotify.CREATE
    | inotify.DELETE
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
    | DELETE_SELF
    | MOVE_SELF
    | DONT_FOLLOW
)
"""The same for every directory: adding one again would replace the former mask."""

ITSELF = inotify.IGNORED | DELETE_SELF | MOVE_SELF


class Listener(Protocol):
    """Who wants to know."""

    def happened(self, directory: str, name: str, mask: int) -> None:
        """Something happened to ``name`` in a directory, or to the directory itself (``ITSELF``)."""

    def lost(self) -> None:
        """Events were lost: anything may have happened."""


class Directories:
    """Watched directories and who listens to each. ``add`` and ``keep`` may be called in any thread."""

    def __init__(self) -> None:
        try:
            self._inotify = inotify.Inotify()
        except OSError as error:
            raise limit_reached(error) from None
        self._listeners: dict[int, dict[Listener, str]] = {}
        self._lock = threading.Lock()

    def add(self, directory: str, path: Path, listener: Listener) -> int:
        """Watch a directory; a renamed one keeps its number. Raises OSError, and ConfigError at the kernel's limit."""
        with self._lock:
            try:
                number = self._inotify.add(path, _MASK)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.ENOMEM):
                    raise limit_reached(error) from None
                raise
            self._listeners.setdefault(number, {})[listener] = directory
            return number

    def keep(self, listener: Listener, numbers: Collection[int]) -> None:
        """Of what was added for a listener, only these go on being watched."""
        with self._lock:
            for number, listeners in list(self._listeners.items()):
                if listener in listeners and number not in numbers:
                    del listeners[listener]
                    if not listeners:
                        del self._listeners[number]
                        with contextlib.suppress(OSError):  # the kernel has dropped it already, with the directory
                            self._inotify.remove(number)

    async def run(self) -> None:
        """Tell listeners what happens, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._inotify.fd)
            for event in self._inotify.read():
                self._tell(event)

    def _tell(self, event: inotify.Event) -> None:
        with self._lock:
            if event.mask & inotify.Q_OVERFLOW:
                everyone = {listener for listeners in self._listeners.values() for listener in listeners}
                told = dict.fromkeys(everyone, "")
            elif event.mask & inotify.IGNORED:
                told = self._listeners.pop(event.watch, {})
            else:
                told = dict(self._listeners.get(event.watch, {}))
        for listener, directory in told.items():
            if event.mask & inotify.Q_OVERFLOW:
                listener.lost()
            else:
                listener.happened(directory, event.name, event.mask)

    def close(self) -> None:
        """Give the descriptor back."""
        with self._lock:
            self._listeners.clear()
            self._inotify.close()


def limit_reached(error: OSError) -> ConfigError:
    """The kernel's limits in words."""
    name = "instances" if error.errno == errno.EMFILE else "watches"
    return ConfigError(
        f"cannot watch for changes: {error.strerror}",
        where=str(error.filename or "inotify"),
        next_step=f"raise fs.inotify.max_user_{name} with sysctl",
    )

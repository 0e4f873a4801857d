"""Telling the process supervisor: sd_notify(3) for systemd, a newline on a descriptor for s6 and for hermesctl.

Every message is one datagram of ``KEY=value`` lines to ``NOTIFY_SOCKET``; nobody listening is no error. What it means:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

MAX_STATUS_CHARACTERS = 500


class Notifier:
    """Where readiness and what follows is announced.

    The variables are taken out of the environment, so that no child uses them. ``watchdog_s`` is how often the
    supervisor wants a sign of life (WATCHDOG_USEC, in seconds), 0 when it wants none.
    """

    def __init__(self, ready_fd: int = -1, *, environment: MutableMapping[str, str] | None = None) -> None:
        variables = os.environ if environment is None else environment
        self._ready_fd = ready_fd
        if ready_fd >= 0:
            os.set_inheritable(ready_fd, False)
        self._address = variables.pop("NOTIFY_SOCKET", "")
        self.watchdog_s = _watchdog_s(variables.pop("WATCHDOG_USEC", ""), variables.pop("WATCHDOG_PID", ""))

    @property
    def is_heard(self) -> bool:
        """Whether a supervisor has named a socket for all this."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """Say that clients are served, at first or again after ``reloading``.

        The descriptor is closed, as s6's notification-fd asks.
        """
        self._send(f"READY=1\n{_status(status)}\nMAINPID={os.getpid()}")
        if self._ready_fd >= 0:
            with contextlib.suppress(OSError):  # whoever waited may be gone
                os.write(self._ready_fd, b"\n")
            os.close(self._ready_fd)
            self._ready_fd = -1

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send(_status(text))

    def reloading(self) -> None:
        """Say that the configuration is read again; ``ready`` must follow, whatever comes of it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\n{_status('reading the configuration')}")

    def stopping(self) -> None:
        """Say that an ordered stop has begun."""
        self._send(f"STOPPING=1\n{_status('stopping: running turns are finished')}")

    def alive(self) -> None:
        """The sign of life that ``watchdog_s`` asks for."""
        self._send("WATCHDOG=1")

    def store(self, name: str, descriptors: Sequence[int]) -> None:
        """Have the supervisor keep these open over a restart; it hands them back under ``name`` (a-z, 0-9, -).

        Kept only when its unit allows it (FileDescriptorStoreMax=); there is no answer that would tell.
        """
        self._send(f"FDSTORE=1\nFDNAME={name}", descriptors)

    def unstore(self, name: str) -> None:
        """Have it close what it keeps under this name."""
        self._send(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def _send(self, text: str, descriptors: Sequence[int] = ()) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.sendmsg([text.encode()], rights, 0, address)


def _status(text: str) -> str:
    """A STATUS line; a line break in it would begin another variable."""
    return f"STATUS={' '.join(text.split())[:MAX_STATUS_CHARACTERS]}"


def _watchdog_s(microseconds: str, pid: str) -> float:
    """As sd_watchdog_enabled(3): 0 when there is none, or it is meant for another process."""
    if not (microseconds.isascii() and microseconds.isdigit()) or (pid and pid != str(os.getpid())):
        return 0.0
    return int(microseconds) / 1_000_000

"""Telling the process supervisor: sd_notify(3) for systemd, a newline on a descriptor for s6 and for hermesctl."""

from __future__ import annotations

import contextlib
import os
import socket


class Notifier:
    """Where readiness is announced. The variables are taken out of the environment, so that no child uses them."""

    def __init__(self, ready_fd: int = -1) -> None:
        self._ready_fd = ready_fd
        if ready_fd >= 0:
            os.set_inheritable(ready_fd, False)
        self._address = os.environ.pop("NOTIFY_SOCKET", "")

    def ready(self, status: str) -> None:
        """Say that clients are served; the descriptor is closed, as s6's notification-fd asks."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")
        if self._ready_fd >= 0:
            with contextlib.suppress(OSError):  # whoever waited may be gone
                os.write(self._ready_fd, b"\n")
            os.close(self._ready_fd)
            self._ready_fd = -1

    def stopping(self) -> None:
        """Say that an ordered stop has begun."""
        self._send("STOPPING=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock,
        ):
            sock.connect(address)
            sock.send(text.encode())

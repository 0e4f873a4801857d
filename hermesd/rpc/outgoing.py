"""What a connection has still to say: one buffer, sent without waiting as far as the kernel takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import socket


class Outgoing:
    """Bytes on their way to one client. Order is that of ``write``; any number of tasks may flush."""

    __slots__ = ("_buffer", "_lock", "_socket")

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._buffer = bytearray()
        self._lock: trio.Lock | None = None

    @property
    def pending_bytes(self) -> int:
        """How much waits for the client to read."""
        return len(self._buffer)

    def write(self, data: bytes) -> None:
        """Append; nothing is sent before the next ``try_send`` or ``flush``."""
        self._buffer += data

    def try_send(self) -> bool:
        """Send what the kernel takes now; True when nothing is left. Raises OSError when the client is gone."""
        if self._buffer:
            try:
                sent = self._socket.send(self._buffer)
            except BlockingIOError:
                return False
            if sent < len(self._buffer):
                del self._buffer[:sent]
                return False
            self._buffer = bytearray()
        return True

    async def flush(self) -> None:
        """Wait until everything written so far and meanwhile is sent. Raises OSError when the client is gone."""
        if self.try_send():
            return
        if self._lock is None:
            self._lock = trio.Lock()
        async with self._lock:
            while not self.try_send():
                await trio.lowlevel.wait_writable(self._socket)

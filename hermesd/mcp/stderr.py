"""What a server writes to stderr: the last lines are kept, some reach the log, a flood costs it its own speed."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from hermesd.mcp.serverlog import ServerLog

KEPT_LINES = 100
LINE_BYTES = 1000
READ_BYTES = 64 * 1024
BYTES_A_SECOND = 1024 * 1024


class Stderr:
    """Reads one descriptor until its end."""

    def __init__(self, fd: int, log: ServerLog) -> None:
        self._fd = fd
        self._log = log
        self._part = b""
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    async def run(self) -> None:
        """Return at the end of the output, or when the descriptor is closed. A flood is read at BYTES_A_SECOND."""
        allowed, since = BYTES_A_SECOND, trio.current_time()
        while True:
            try:
                await trio.lowlevel.wait_readable(self._fd)
                piece = os.read(self._fd, READ_BYTES)
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                return
            if not piece:
                return
            self._take(piece)
            allowed -= len(piece)
            if allowed <= 0:
                await trio.sleep_until(since + 1.0)
                allowed, since = BYTES_A_SECOND, trio.current_time()

    def read_rest(self) -> None:
        """Take what is there now, without waiting: the last words of one that has died."""
        with contextlib.suppress(OSError):
            self._take(os.read(self._fd, READ_BYTES) + b"\n")

    def _take(self, piece: bytes) -> None:
        *lines, part = (self._part + piece).split(b"\n")
        self._part = part[:LINE_BYTES]
        for raw in lines[-KEPT_LINES:]:
            line = "".join(c if c.isprintable() else " " for c in raw[:LINE_BYTES].decode("utf-8", "replace")).rstrip()
            if line:
                self.lines.append(line)
                self._log.theirs(line)

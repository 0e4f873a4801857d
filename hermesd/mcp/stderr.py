"""What a server writes to stderr: the last lines are kept, some reach the log, a flood costs it its own speed."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from typing import TYPE_CHECKING

import trio

from hermesd.mcp.pace import Pace

if TYPE_CHECKING:
    from hermesd.mcp.serverlog import ServerLog

KEPT_LINES = 100
LINE_BYTES = 1000
READ_BYTES = 64 * 1024
BYTES_A_SECOND = 1024 * 1024
BURST_S = 0.25


class Stderr:
    """Reads one descriptor until its end."""

    def __init__(self, fd: int, log: ServerLog) -> None:
        self._fd = fd
        self._log = log
        self._part = b""
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    async def run(self) -> None:
        """Return at the end of the output, or when the descriptor is closed. A flood is read at BYTES_A_SECOND."""
        pace = Pace(BYTES_A_SECOND, burst_s=BURST_S, slice_s=0.0)
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
            await trio.sleep_until(pace.take(len(piece)))

    def read_rest(self) -> None:
        """Take what is there now, without waiting: the last words of one that has died."""
        with contextlib.suppress(OSError):
            self._take(os.read(self._fd, READ_BYTES) + b"\n")

    def _take(self, piece: bytes) -> None:
        *lines, part = (self._part + piece).split(b"\n")
        self._part = part[:LINE_BYTES]
        for raw in lines[-KEPT_LINES:]:
            if line := self.keep(raw):
                self._log.theirs(line)

    def keep(self, raw: bytes, before: str = "") -> str:
        """Keep one line and return it as it may be shown; ``before`` says where it came from, if not from here."""
        line = raw[:LINE_BYTES].decode("utf-8", "replace")
        if not line.isprintable():
            line = "".join(c if c.isprintable() else " " for c in line)
        line = line.rstrip()
        if line:
            self.lines.append(before + line)
        return line

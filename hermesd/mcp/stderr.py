"""What a server writes to stderr: the last lines are kept, some reach the log, a flood costs it its own speed."""

from __future__ import annotations

import contextlib
import logging
import os
from collections import deque

import trio

log = logging.getLogger("hermesd.mcp")

KEPT_LINES = 100
LINE_BYTES = 1000
LOGGED_A_MINUTE = 8
READ_BYTES = 64 * 1024
BYTES_A_SECOND = 1024 * 1024


class Stderr:
    """Reads one descriptor until its end. ``service`` names the server in the log."""

    def __init__(self, fd: int, service: str) -> None:
        self._fd = fd
        self._service = service
        self._part = b""
        self._minute = -1.0
        self._logged = 0
        self._dropped = 0
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
                self._log(line)

    def _log(self, line: str) -> None:
        now = trio.current_time()
        if self._minute < 0 or now - self._minute >= 60:
            if self._dropped:
                log.info("%s: %d more lines on stderr were not logged", self._service, self._dropped)
            self._minute, self._logged, self._dropped = now, 0, 0
        if self._logged < LOGGED_A_MINUTE:
            self._logged += 1
            log.info("%s: %s", self._service, line, extra={"fields": {"service": self._service}})
        else:
            self._dropped += 1

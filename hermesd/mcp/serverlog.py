"""What one server may put into the log: ten lines a minute, whatever it does, however often it is started."""

from __future__ import annotations

import logging
from collections import deque

import trio

log = logging.getLogger("hermesd.mcp")

WINDOW_S = 60.0
LINES = 10
THEIRS = 5
"""A server's own words (stderr) are logged while fewer lines than this are in the window: ours come through too."""


class ServerLog:
    """The log of one server for as long as it is configured; ``where`` begins every line, e.g. ``mcp/files``."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._times: deque[float] = deque()
        self._dropped = 0

    def ours(self, text: str, *, level: int = logging.INFO, error: BaseException | None = None) -> None:
        """Something that we have to say about it; ``error`` adds the traceback."""
        self._say(text, LINES, level, error)

    def theirs(self, line: str) -> None:
        """Something that the server wrote for people."""
        self._say(line, THEIRS, logging.INFO, None)

    def _say(self, text: str, most: int, level: int, error: BaseException | None) -> None:
        now = trio.current_time()
        while self._times and now - self._times[0] >= WINDOW_S:
            self._times.popleft()
        if len(self._times) + bool(self._dropped) >= most:
            self._dropped += 1
            return
        if self._dropped:
            self._write(now, f"{self._dropped} more lines were not logged", logging.INFO, None)
            self._dropped = 0
        self._write(now, text, level, error)

    def _write(self, now: float, text: str, level: int, error: BaseException | None) -> None:
        self._times.append(now)
        fields = {"service": self._where}
        log.log(level, "%s: %s", self._where, text, exc_info=error, extra={"fields": fields})

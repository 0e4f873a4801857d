"""The end of a log file, read backwards in blocks, so that its size does not matter."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from hermesd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BLOCK_BYTES = 64 * 1024
MAX_LINE_BYTES = 1024 * 1024
MAX_LOOKED_AT_BYTES = 64 * 1024 * 1024
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


def read_tail(path: Path, *, lines: int, level: str = "", service: str = "", end: int | None = None) -> list[str]:
    """The last ``lines`` lines that match, oldest first; none when there is no file.

    ``level`` means it and those above; ``service`` it and those below it. ``end`` takes the file to end at that byte.
    Raises UsageError for an unknown level.
    """
    matches = line_filter(level, service)
    found: list[str] = []
    if lines <= 0:
        return found
    for raw in _backwards(path, end):
        text = raw.decode("utf-8", "replace")
        if matches(text):
            found.append(text)
            if len(found) == lines:
                break
    return found[::-1]


def line_filter(level: str, service: str) -> Callable[[str], bool]:
    """Whether a line (a JSON object) is of this level or above and of this service or below; '' takes all."""
    if level and level not in LEVELS:
        raise UsageError(f"there is no log level {level[:40]!r}", next_step=f"use one of: {', '.join(LEVELS)}")
    if not level and not service:
        return bool
    least = LEVELS.get(level, 0)

    def matches(text: str) -> bool:
        try:
            entry = json.loads(text)
        except (ValueError, RecursionError):
            return False
        if not isinstance(entry, dict) or LEVELS.get(str(entry.get("level", "info")).lower(), 50) < least:
            return False
        name = str(entry.get("service", ""))
        return not service or name == service or name.startswith(service + "/")

    return matches


def _backwards(path: Path, end: int | None) -> Iterator[bytes]:
    """Lines from the last to the first; a line over the cap is cut at its front."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        position = file.seek(0, os.SEEK_END)
        if end is not None:
            position = min(end, position)
        stop = max(position - MAX_LOOKED_AT_BYTES, 0)
        rest = b""
        while position > stop:
            size = min(BLOCK_BYTES, position - stop)
            position -= size
            file.seek(position)
            first, *whole = (file.read(size) + rest).split(b"\n")
            yield from filter(None, reversed(whole))
            rest = first[-MAX_LINE_BYTES:]
        if rest:
            yield rest

"""A line on standard error that shows that something is waited for."""

from __future__ import annotations

import contextlib
import sys
import time
from itertools import cycle
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_S = 0.1


@contextlib.contextmanager
def spinner(text: str, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """A function that waits so many seconds, while a frame turns if ``shown`` and standard error is a terminal."""
    if not shown or not sys.stderr.isatty():
        yield time.sleep
        return
    frames = cycle(FRAMES)

    def turn(seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            print(f"\r{next(frames)} {text} …", end="", file=sys.stderr, flush=True)
            time.sleep(min(FRAME_S, left))

    try:
        yield turn
    finally:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)

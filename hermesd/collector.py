"""The settings of Python's garbage collector, which are the whole process's: nobody else touches them."""

from __future__ import annotations

import gc
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

IMPORTING = 10_000
"""Objects between two collections while modules are imported: what they make stays, and holds few cycles."""

_lock = threading.Lock()
_importing = 0
_usual = gc.get_threshold()


@contextmanager
def importing() -> Iterator[None]:
    """Collect seldom meanwhile. Several threads may be at it: the last to leave brings back what was before."""
    global _importing, _usual  # noqa: PLW0603 - the collector is one to a process
    with _lock:
        if not _importing:
            _usual = gc.get_threshold()
            gc.set_threshold(IMPORTING)
        _importing += 1
    try:
        yield
    finally:
        with _lock:
            _importing -= 1
            if not _importing:
                gc.set_threshold(*_usual)


def keep() -> None:
    """What is there now stays for good, and is not walked again: with 250 profiles that made pauses of 70 ms."""
    gc.freeze()

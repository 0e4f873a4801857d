"""Waiting for the end of processes that are not children of the test."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable


def ended(pids: Iterable[int], within_s: float) -> bool:
    """Whether all of these processes have ended, or do so within the time; one that nobody has reaped yet has."""
    until = time.monotonic() + within_s
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            ready, _, _ = select.select([handle], [], [], max(0.0, until - time.monotonic()))
        finally:
            os.close(handle)
        if not ready:
            return False
    return True

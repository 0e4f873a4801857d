"""Trio's clock made to stand still beside real processes and sockets.

What then goes on was told by an event: no timeout ended, nothing polled, nothing was merely waited out. So "at once"
is seen without measuring anything, on a machine of any speed. ``clock.jump(seconds)`` lets so much time pass.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from trio.testing import MockClock

LIMIT_S = 60.0


def running_clock() -> MockClock:
    """A clock that goes with real time, and can be stopped."""
    return MockClock(rate=1.0)


@contextmanager
def standing_still(clock: MockClock, *, limit_s: float = LIMIT_S) -> Iterator[None]:
    """No time passes in this block.

    Raises trio.TooSlowError when it waits for a timer, after so many real seconds; the clock goes on then.
    """
    token = trio.lowlevel.current_trio_token()
    with trio.CancelScope() as scope:

        def give_up() -> None:
            clock.rate = 1.0
            scope.cancel()

        guard = threading.Timer(limit_s, token.run_sync_soon, (give_up,))
        guard.daemon = True
        guard.start()
        clock.rate = 0.0
        try:
            yield
        finally:
            guard.cancel()
            clock.rate = 1.0
    if scope.cancelled_caught:
        raise trio.TooSlowError

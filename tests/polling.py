"""Waiting for what nobody tells: another process's file, a record of a server, a process that has come to rest.

What tells of itself (an event, a line, a readiness descriptor) is awaited instead. The limit is far above what any of
it ever takes: only a test that fails waits for it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

LOOK_S = 0.01
LIMIT_S = 60.0


async def until(holds: Callable[[], bool] | Callable[[], Awaitable[bool]], *, limit_s: float = LIMIT_S) -> None:
    """Return once it holds; raises AssertionError after so long. Real time, whatever clock Trio runs by."""
    import trio  # which the programs of tests/servers need not load

    end = time.monotonic() + limit_s
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < end, f"not so within {limit_s:g} s"
        await trio.to_thread.run_sync(time.sleep, LOOK_S)


def wait_until(holds: Callable[[], bool], *, limit_s: float = LIMIT_S) -> None:
    """The same for a test without a loop."""
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, f"not so within {limit_s:g} s"
        time.sleep(LOOK_S)

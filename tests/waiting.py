"""Waiting for what tells nobody: something that can only be looked at, until it is as it should be.

What can be awaited itself (an event, a line of output, a change over RPC, a file by inotify) is awaited instead. The
time allowed is long, because a test that passes does not wait for it.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from trio.testing import wait_all_tasks_blocked

T = TypeVar("T")

PATIENCE_S = 60.0
LOOK_S = 0.005


async def until(look: Callable[[], Awaitable[T] | T], holds: Callable[[T], object] = bool) -> T:
    """What ``look`` gives, as soon as ``holds`` is true of it; tasks of the test's own loop go on meanwhile.

    In real time, whatever clock the loop has; an autojump clock does not jump while this waits. Raises AssertionError.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        looked = look()
        found: T = await looked if inspect.isawaitable(looked) else looked
        if holds(found):
            return found
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {found!r:.2000}"
        await wait_all_tasks_blocked(0.001)


def wait_until(look: Callable[[], T], holds: Callable[[T], object] = bool, *, every_s: float = LOOK_S) -> T:
    """What ``look`` gives, as soon as ``holds`` is true of it, which another process or thread sees to.

    ``every_s``: the pause between two looks, for one that costs much. Raises AssertionError.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not holds(found := look()):
        assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s: {found!r:.2000}"
        time.sleep(every_s)
    return found

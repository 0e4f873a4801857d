"""When a server is tried again: at once, then ever more rarely, never not at all."""

from __future__ import annotations

import os
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterator

BASE_S = 1.0
CAP_S = 55.0  # with the time a connect takes, a minute
GROWTH = 4.0
LEAST = 0.9  # jitter: servers that died together do not come back together
STARTS_AT_ONCE = os.cpu_count() or 1  # with more, none is ready sooner, and answers wait for a processor
WINDOW_S = 300.0
HASTENED = 2  # within WINDOW_S; the schedule alone makes 10 starts in that time
SLOT_S = 2.0  # a start that takes longer is waiting, not working


class Backoff:
    """Failures in a row since a proven session: in any 300 s no more than 12 starts, and one a minute for ever."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.failures = 0
        self._hastened: deque[float] = deque(maxlen=HASTENED)

    def proven(self) -> None:
        """A session did what it is for; the past is forgiven."""
        self.failures = 0

    def next_delay_s(self) -> float:
        """Count a failure and say how long to wait: 0 for the first."""
        self.failures += 1
        if self.failures == 1:
            return 0.0
        ceiling = min(CAP_S, BASE_S * GROWTH ** min(self.failures - 2, 32))
        return self._rng.uniform(LEAST * ceiling, ceiling)

    def may_hasten(self) -> bool:
        """Whether a start may come before its time; counts it if so."""
        now = trio.current_time()
        if len(self._hastened) == HASTENED and now - self._hastened[0] < WINDOW_S:
            return False
        self._hastened.append(now)
        return True


class StartLimit:
    """How many servers of the daemon may be starting at once; each holds a place for SLOT_S at the longest."""

    def __init__(self, places: int = STARTS_AT_ONCE) -> None:
        self._places = trio.CapacityLimiter(places)

    async def take(
        self, nursery: trio.Nursery, at_rest: Callable[[], Awaitable[None]] = trio.sleep_forever
    ) -> Callable[[], None]:
        """Wait for a place. What is returned gives it back; so do time and the end of ``at_rest``, in ``nursery``."""
        borrower = object()
        await self._places.acquire_on_behalf_of(borrower)
        scope = trio.CancelScope()
        held = True

        def give_back() -> None:
            nonlocal held
            scope.cancel()
            if held:
                held = False
                self._places.release_on_behalf_of(borrower)

        async def clock() -> None:
            with scope, trio.move_on_after(SLOT_S):
                await at_rest()
            give_back()

        nursery.start_soon(clock)
        return give_back

    @contextmanager
    def one_less(self) -> Iterator[None]:
        """A place less while the body runs, if there are several: something else keeps a processor busy."""
        usual = self._places.total_tokens
        self._places.total_tokens = max(1, usual - 1)
        try:
            yield
        finally:
            self._places.total_tokens = usual


starts = StartLimit()
greetings = StartLimit()
"""For programs that were started while the SDK was being imported: they wait for us, and cost no start any more."""

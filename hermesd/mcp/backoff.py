"""When a server is tried again: at once, then ever more rarely, never not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

BASE_S = 1.0
CAP_S = 55.0  # with the time a connect takes, a minute
GROWTH = 3.0
LEAST = 0.75  # jitter: servers that died together do not come back together
STARTS_AT_ONCE = 2 * (os.cpu_count() or 1)
SLOT_S = 2.0  # a start that takes longer is waiting, not working


class Backoff:
    """Failures in a row since a proven session. In 300 s it allows 12 starts at most, and one a minute for ever."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.failures = 0

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


class StartLimit:
    """How many servers of the daemon may be starting at once; each holds a place for SLOT_S at the longest."""

    def __init__(self, places: int = STARTS_AT_ONCE) -> None:
        self._places = trio.CapacityLimiter(places)

    async def take(self, nursery: trio.Nursery) -> Callable[[], None]:
        """Wait for a place. What is returned gives it back; so does time, by a clock that ``nursery`` runs."""
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
            with scope:
                await trio.sleep(SLOT_S)
            give_back()

        nursery.start_soon(clock)
        return give_back


starts = StartLimit()

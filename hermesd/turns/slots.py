"""A bound over turns that run at once, in all profiles."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import trio


class Slot:
    """A context: one turn's place among those at work, given back while it stands still for a person's answer."""

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self._limiter = limiter
        self._held = False
        self._still = 0

    async def __aenter__(self) -> Slot:
        await self._take()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._give_back()

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[None]:
        """Others may work meanwhile; on leaving, wait for a place again. Several at once count as one."""
        self._still += 1
        self._give_back()
        try:
            yield
        finally:
            self._still -= 1
            if not self._still:
                await self._take()

    async def _take(self) -> None:
        await self._limiter.acquire_on_behalf_of(self)
        self._held = True

    def _give_back(self) -> None:
        if self._held:
            self._held = False
            self._limiter.release_on_behalf_of(self)

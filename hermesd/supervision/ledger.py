"""The memory of restart budgets: read before a service's first start, written behind its restarts."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.supervision.budget import Budget, BudgetStore

log = logging.getLogger("hermesd.supervision")

LOAD_TIMEOUT_S = 1.0
SAVE_TIMEOUT_S = 5.0


class Ledger:
    """Converts between epoch seconds and loop time; saves in one task at a time that exists only while needed."""

    __slots__ = ("_dirty", "_idle", "_spawn", "_store", "_wall")

    def __init__(
        self,
        store: BudgetStore | None,
        *,
        wall: Callable[[], float],
        spawn: Callable[[Callable[[], Awaitable[None]], str], None],
    ) -> None:
        self._store = store
        self._wall = wall
        self._spawn = spawn
        self._dirty: dict[str, list[float]] = {}
        self._idle: trio.Event | None = None

    async def restore(self, path: str, budget: Budget) -> None:
        """Fill ``budget`` with what was saved; a store that is slow or broken costs a second and a log line."""
        if self._store is None:
            return
        offset = self._wall() - trio.current_time()
        with trio.move_on_after(LOAD_TIMEOUT_S) as scope:
            try:
                restarts = await self._store.load(f"restarts:{path}")
                starts = await self._store.load(f"starts:{path}") if budget.policy.max_starts_per_day else []
            except Exception as error:
                log.warning("the restart budget of %s cannot be read: %s", path, error)
                return
            now = trio.current_time()
            budget.restore([time - offset for time in restarts], [time - offset for time in starts], now=now)
        if scope.cancelled_caught:
            log.warning("the restart budget of %s was not read within %g s", path, LOAD_TIMEOUT_S)

    def save_restarts(self, path: str, budget: Budget) -> None:
        """Have the restarts saved soon; never waits."""
        self._mark(f"restarts:{path}", budget.restarts)

    def save_starts(self, path: str, budget: Budget) -> None:
        """Have the starts of a service with a daily bound saved soon; never waits."""
        if budget.policy.max_starts_per_day:
            self._mark(f"starts:{path}", budget.starts)

    async def flushed(self) -> None:
        """Return when everything is saved, or cannot be."""
        while self._idle is not None:
            await self._idle.wait()

    def _mark(self, key: str, times: list[float]) -> None:
        if self._store is None:
            return
        offset = self._wall() - trio.current_time()
        self._dirty[key] = [time + offset for time in times]
        if self._idle is None:
            self._idle = trio.Event()
            self._spawn(self._save, "restart budgets")

    async def _save(self) -> None:
        assert self._store is not None
        try:
            while self._dirty:
                key = next(iter(self._dirty))
                times = self._dirty.pop(key)
                with trio.move_on_after(SAVE_TIMEOUT_S) as scope:
                    try:
                        await self._store.save(key, times)
                    except Exception as error:
                        log.warning("the budget %s cannot be saved: %s", key, error)
                if scope.cancelled_caught:
                    log.warning("the budget %s was not saved within %g s", key, SAVE_TIMEOUT_S)
        finally:
            if self._idle is not None:
                self._idle.set()
                self._idle = None

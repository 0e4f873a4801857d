"""How often a service may come back, and the memory of it that outlives the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hermesd.supervision.backoff import delay_s

if TYPE_CHECKING:
    import random

    from hermesd.supervision.policy import Policy

DAY_S = 86_400.0


class BudgetStore(Protocol):
    """Where budgets are kept between two lives of the daemon.

    Keys are ``restarts:<path>`` and, for services with a daily bound, ``starts:<path>``; values are epoch seconds in
    ascending order. Both methods may raise; a service is then started, or restarted, all the same.
    """

    async def load(self, key: str) -> list[float]:
        """The times last saved, empty when there are none."""

    async def save(self, key: str, times: list[float]) -> None:
        """Replace them; an empty list removes them."""


class Budget:
    """One service's restarts and starts, in seconds of the loop's monotonic clock. It needs no timer of its own."""

    __slots__ = ("failures", "policy", "restarts", "starts")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.failures = 0
        self.restarts: list[float] = []
        self.starts: list[float] = []

    def restore(self, restarts: list[float], starts: list[float], *, now: float) -> None:
        """Take up what an earlier life left; times in the future (the clock was set back) count as now."""
        self.restarts = sorted(min(time, now) for time in restarts)
        self.starts = sorted(min(time, now) for time in starts)
        self._expire(now)
        self.failures = len(self.restarts)

    def forgive(self) -> None:
        """Forget failures and restarts: the service was healthy, or a person started it."""
        self.failures = 0
        self.restarts.clear()

    def forgive_if_healthy(self, now: float, ready_at: float | None) -> bool:
        """Forgive when it has been ready for long enough by now; True if there was something to forgive."""
        if ready_at is None or now - ready_at < self.policy.healthy_after_s or not self.failures:
            return False
        self.forgive()
        return True

    def note_start(self, now: float) -> None:
        """Count a start against the day."""
        if self.policy.max_starts_per_day:
            self.starts.append(now)

    def exhausted(self, now: float, *, first: bool = False) -> str:
        """Why it may not be started by itself now, or an empty string; ``first`` in the life of this daemon."""
        self._expire(now)
        policy = self.policy
        if len(self.restarts) >= policy.max_restarts and (self.restarts or not first):
            return f"gave up after {len(self.restarts)} restarts in {policy.period_s:g} s"
        if policy.max_starts_per_day and len(self.starts) >= policy.max_starts_per_day:
            return f"gave up after {len(self.starts)} starts in 24 hours"
        return ""

    def next_restart(self, now: float, rng: random.Random) -> float:
        """Count a restart and return the seconds to wait before it. Ask ``exhausted`` first."""
        self.failures += 1
        self.restarts.append(now)
        return delay_s(self.policy, self.failures, rng)

    def _expire(self, now: float) -> None:
        self.restarts = [time for time in self.restarts if now - time < self.policy.period_s]
        self.starts = [time for time in self.starts if now - time < DAY_S]

"""How fast a server is heard: a burst at full speed, then evenly, so that a flood is a trickle to everybody else."""

from __future__ import annotations

import math

import trio


class Pace:
    """A leaky bucket of ``burst_s`` seconds' worth at ``a_second`` units (the generic cell rate algorithm)."""

    def __init__(self, a_second: float, *, burst_s: float, slice_s: float) -> None:
        self._unit_s = 1.0 / a_second
        self._burst_s = burst_s
        self._slice_s = slice_s
        self._paid_until = -math.inf

    def take(self, units: int) -> float:
        """Count what came; the instant (``trio.current_time``) before which no more is to be read, 0 when none.

        Whoever waits until then has ``slice_s`` seconds' worth at once, so that not every unit needs a timer.
        """
        now = trio.current_time()
        self._paid_until = max(self._paid_until, now) + units * self._unit_s
        if self._paid_until - now <= self._burst_s:
            return 0.0
        return self._paid_until - self._burst_s + self._slice_s

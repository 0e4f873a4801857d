"""A token bucket: bursts up to its size, then a steady rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class TokenBucket:
    """``per_minute`` tokens a minute, at most that many at once; 0 means without bound. ``clock`` gives seconds."""

    __slots__ = ("_at", "_clock", "_per_minute", "_tokens")

    def __init__(self, per_minute: int, *, clock: Callable[[], float]) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._tokens = float(per_minute)
        self._at = clock()

    def take(self) -> float:
        """Take a token: 0 when there was one, else the seconds until there will be."""
        if not self._per_minute:
            return 0.0
        now = self._clock()
        rate = self._per_minute / 60
        self._tokens = min(float(self._per_minute), self._tokens + (now - self._at) * rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / rate
        self._tokens -= 1
        return 0.0

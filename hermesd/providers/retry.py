"""Trying again: how often, and after how long.

attempt ──ok──► reply
   └─failed─► not worth repeating ──────────────────────────► ProviderError
              attempts spent, or a wait of over MAX_WAIT_S ──► ProviderError
              else Restarted, wait, attempt
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.providers.base import ProviderError, Restarted
from hermesd.providers.failures import AttemptError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.providers.base import Delta, ModelReply, ModelRequest, Provider

MOST_ATTEMPTS = 8
MAX_WAIT_S = 60.0
"""The longest Retry-After that is waited for inside a turn; a longer one is the turn's own business."""
BACKOFF_S = 0.5
_REMEMBERED = 64


class Backoff:
    """Growing random waits: the n-th is drawn below ``base_s * 2**n`` and at least twice the one before.

    The draw keeps clients apart ("full jitter", AWS Architecture Blog, 2015); the lower bound keeps two draws from
    coming out alike or near zero, which would be hammering by chance.
    """

    def __init__(self, base_s: float, uniform: Callable[[float, float], float]) -> None:
        self._ceiling = base_s
        self._floor = base_s / 4
        self._uniform = uniform

    def next_s(self) -> float:
        """Seconds to wait before the next attempt."""
        delay = self._uniform(self._floor, self._ceiling)
        self._floor = 2 * delay
        self._ceiling *= 2
        return delay


class Retrying:
    """A provider that asks ``inner`` up to ``max_attempts`` times (at most 8).

    A request whose attempts were spent gets a single one when it is asked again: its caller waits by itself between
    calls, and attempts upon attempts would be a retry storm. ``sleep`` and ``uniform`` are for tests in virtual time.
    """

    def __init__(
        self,
        inner: Provider,
        *,
        max_attempts: int = 4,
        backoff_s: float = BACKOFF_S,
        sleep: Callable[[float], Awaitable[None]] = trio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._max_attempts = max(1, min(max_attempts, MOST_ATTEMPTS))
        self._backoff_s = backoff_s
        self._sleep = sleep
        self._uniform = uniform
        self._spent: dict[int, None] = {}

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        """Ask until there is an answer. Raises ProviderError."""
        attempts = 1 if self._was_spent(request) else self._max_attempts
        backoff = Backoff(self._backoff_s, self._uniform)
        attempt = 1
        while True:
            try:
                reply = await self._inner.complete(request, on_delta=on_delta)
            except AttemptError as failed:
                if not failed.retry:
                    raise
                delay = failed.retry_after_s + backoff.next_s()  # never all clients at the very same instant
                if attempt >= attempts or failed.retry_after_s > MAX_WAIT_S:
                    self._remember(request)
                    raise _given_up(failed, attempt) from failed
                on_delta(Restarted(reason=failed.what, delay_s=delay))
            else:
                if self._spent:
                    self._spent.pop(_fingerprint(request), None)
                return reply
            await self._sleep(delay)
            attempt += 1

    async def aclose(self) -> None:
        """Close connections; idempotent."""
        await self._inner.aclose()

    def _was_spent(self, request: ModelRequest) -> bool:
        return bool(self._spent) and _fingerprint(request) in self._spent

    def _remember(self, request: ModelRequest) -> None:
        self._spent[_fingerprint(request)] = None
        while len(self._spent) > _REMEMBERED:
            self._spent.pop(next(iter(self._spent)))


def _fingerprint(request: ModelRequest) -> int:
    return hash(msgspec.msgpack.encode(request))


def _given_up(failed: AttemptError, attempts: int) -> ProviderError:
    too_long = failed.retry_after_s > MAX_WAIT_S
    what = failed.what if attempts == 1 else f"{failed.what} (attempt {attempts}, the last)"
    if too_long:
        what = f"{failed.what}; it asks to wait {failed.retry_after_s:.0f} s"
    return ProviderError(
        what,
        kind="rate_limited" if too_long else failed.kind,
        where=failed.where,
        next_step=failed.next_step,
        retry_after_s=failed.retry_after_s,
    )

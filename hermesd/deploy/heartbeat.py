"""The sign of life for the process supervisor's watchdog: sent only while the loop turns and the store commits.

Nothing runs, and nothing wakes, when no watchdog asks for it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from hermesd.errors import HermesError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.deploy.notify import Notifier

log = logging.getLogger("hermesd.deploy")


async def beat(notifier: Notifier, commit: Callable[[], Awaitable[object]]) -> None:
    """Every half of the asked interval: have ``commit`` pass through the store, then say that all is well.

    A store that refuses (a full disk) is alive: it has answered, and recovers unaided. One that does not answer gets
    no sign of life sent until it does, so that the supervisor starts another process in time. Returns at once when
    there is no watchdog.
    """
    interval_s = notifier.watchdog_s / 2
    if not interval_s:
        return
    deadline = trio.current_time()
    while True:
        await _pass_through(commit, interval_s)
        notifier.alive()
        deadline = max(deadline + interval_s, trio.current_time())
        await trio.sleep_until(deadline)


async def _pass_through(commit: Callable[[], Awaitable[object]], interval_s: float) -> None:
    """Wait for the commit; say so once when it takes longer than it may."""

    async def tell() -> None:
        await trio.sleep(interval_s)
        log.error("the store has not committed for %.1f s: no sign of life is sent to the watchdog", interval_s)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tell)
        try:
            await commit()
        except HermesError as error:
            log.debug("the store refuses, but answers: %s", error.what)
        nursery.cancel_scope.cancel(reason="the store has answered")

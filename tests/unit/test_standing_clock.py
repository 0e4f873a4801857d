"""A clock that stands still: who waits for it, and who does not."""

from __future__ import annotations

import threading

import pytest
import trio
from trio.testing import MockClock

from tests.standing_clock import running_clock, standing_still


@pytest.fixture
def clock() -> MockClock:
    return running_clock()


async def test_an_event_from_outside_is_heard_while_the_clock_stands(clock: MockClock) -> None:
    """Of a thread, here; no time has passed."""
    began = trio.current_time()
    with standing_still(clock):
        began = trio.current_time()
        await trio.to_thread.run_sync(threading.Event().wait, 0.01)
        assert trio.current_time() == began


async def test_who_waits_for_a_timer_while_the_clock_stands_is_found_out(clock: MockClock) -> None:
    """Whatever the timer's length; what is left to do afterwards may wait for timers again."""
    with pytest.raises(trio.TooSlowError), standing_still(clock, limit_s=0.05):
        try:
            await trio.sleep(1e-9)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
    await trio.sleep(0.01)


async def test_time_passes_by_hand(clock: MockClock) -> None:
    """Exactly as much as was said."""
    with standing_still(clock):
        began = trio.current_time()
        clock.jump(3600.0)
        await trio.sleep_until(began + 3600.0)

"""What the tests wait with."""

from __future__ import annotations

import threading

import pytest
import trio
from trio.testing import MockClock

from tests.polling import until, wait_until
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


async def test_a_condition_is_looked_at_until_it_holds() -> None:
    """With and without a loop; for no longer than the limit."""
    looks = iter([False, False, True, False, True])

    async def look() -> bool:
        return next(looks)

    await until(look)
    wait_until(lambda: next(looks))
    with pytest.raises(AssertionError, match=r"0\.02 s"):
        await until(lambda: False, limit_s=0.02)
    with pytest.raises(AssertionError, match=r"0\.02 s"):
        wait_until(lambda: False, limit_s=0.02)

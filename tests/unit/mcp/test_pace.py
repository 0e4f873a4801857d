"""How fast a server is heard."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp.pace import Pace


async def test_a_burst_is_free_and_a_flood_is_even(autojump_clock: trio.testing.MockClock) -> None:
    """A second's worth at once, then as many as the rate allows, in slices."""
    pace = Pace(128.0, burst_s=1.0, slice_s=0.05)
    assert [pace.take(1) for _ in range(128)] == [0.0] * 128
    waits = 0
    for _ in range(1280):
        if until := pace.take(1):
            waits += 1
            await trio.sleep_until(until)
    assert trio.current_time() == pytest.approx(10.0, abs=0.1)
    assert waits == pytest.approx(183, abs=5)


async def test_silence_earns_no_more_than_a_burst(autojump_clock: trio.testing.MockClock) -> None:
    """An hour without a word, and the one after the burst still waits."""
    pace = Pace(128.0, burst_s=1.0, slice_s=0.0)
    await trio.sleep(3600.0)
    assert [bool(pace.take(1)) for _ in range(129)] == [False] * 128 + [True]


@given(st.lists(st.tuples(st.integers(1, 70_000), st.floats(0.0, 2.0)), max_size=50))
def test_never_more_than_the_rate_and_a_burst(arrivals: list[tuple[int, float]]) -> None:
    """Whoever waits as told has read at most rate x time + burst + the last piece."""

    async def run() -> None:
        pace, total, began = Pace(1000.0, burst_s=2.0, slice_s=0.01), 0, trio.current_time()
        for units, pause_s in arrivals:
            await trio.sleep(pause_s)
            assert total <= 1000.0 * (trio.current_time() - began + 2.0 + 0.01) + 1e-6
            total += units
            await trio.sleep_until(pace.take(units))

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))

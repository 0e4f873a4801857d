"""When a server is tried again."""

from __future__ import annotations

import random

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp.backoff import CAP_S, SLOT_S, WINDOW_S, Backoff, StartLimit


@given(st.integers())
def test_the_first_retry_is_at_once_and_no_wait_exceeds_the_cap(seed: int) -> None:
    """And there is always a next one."""
    backoff = Backoff(random.Random(seed))
    assert backoff.next_delay_s() == 0
    assert all(0 < backoff.next_delay_s() <= CAP_S for _ in range(100))


@given(st.integers())
def test_a_crash_loop_is_started_10_times_in_5_minutes_at_most(seed: int) -> None:
    """S10 allows 12: two are left for those who wait, whatever the jitter."""
    backoff, at, starts = Backoff(random.Random(seed)), 0.0, 0
    while at < 300:
        starts += 1
        at += backoff.next_delay_s()
    assert starts <= 10


async def test_two_starts_in_5_minutes_may_come_before_their_time(autojump_clock: trio.testing.MockClock) -> None:
    """S10: ten by the schedule, two for those who wait."""
    backoff = Backoff(random.Random(1))
    assert [backoff.may_hasten() for _ in range(3)] == [True, True, False]
    await trio.sleep(WINDOW_S)
    assert [backoff.may_hasten() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_no_outage_ends_more_than_a_minute_before_the_next_try(seed: int) -> None:
    """S11: a thousand random outages, none given up, each noticed to be over within 60 s."""
    rng = random.Random(seed)
    for _ in range(200):
        backoff, at, outage = Backoff(rng), 0.0, rng.uniform(0, 7200)
        while at < outage:
            at += backoff.next_delay_s()
        assert at - outage <= 60


def test_a_proven_session_forgives() -> None:
    """The next failure is retried at once again."""
    backoff = Backoff(random.Random(1))
    assert [backoff.next_delay_s() == 0 for _ in range(3)] == [True, False, False]
    backoff.proven()
    assert backoff.next_delay_s() == 0


async def test_a_start_that_hangs_gives_its_place_back(autojump_clock: trio.testing.MockClock) -> None:
    """One place, one start that hangs: the next begins after SLOT_S."""
    limit = StartLimit(1)
    async with trio.open_nursery() as nursery:
        first = await limit.take(nursery)
        second = await limit.take(nursery)
        assert trio.current_time() == pytest.approx(SLOT_S, abs=0.01)
        first()
        second()
        nursery.cancel_scope.cancel()

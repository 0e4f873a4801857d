"""The alarm on the wall clock, with real timers."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hermesd.triggers.alarm import Alarm
from tests.waiting import PATIENCE_S


@pytest.fixture
async def alarm() -> AsyncIterator[Alarm]:
    alarm = Alarm()
    yield alarm
    alarm.close()


async def test_it_rings_at_its_instant(alarm: Alarm) -> None:
    """Not before, and soon after."""
    at = time.time() + 0.05
    alarm.set(at)
    with trio.fail_after(PATIENCE_S):
        assert await alarm.wait() == "due"
    assert time.time() >= at


async def test_an_instant_that_has_passed_rings_at_once(alarm: Alarm) -> None:
    """Also long ago."""
    for at in (time.time() - 1, 0.0, -5.0):
        alarm.set(at)
        with trio.fail_after(PATIENCE_S):
            assert await alarm.wait() == "due"


async def test_setting_it_anew_moves_the_instant(alarm: Alarm) -> None:
    """From far away to now, while somebody waits."""
    alarm.set(None)
    rung: list[str] = []
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            rung.append(await alarm.wait())

        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        assert rung == []
        alarm.set(time.time())
    assert rung == ["due"]


async def test_a_clock_that_is_set_ends_the_wait(alarm: Alarm) -> None:
    """Really set, by nothing: needs CAP_SYS_TIME, and a clock that is this machine's alone to set."""
    if not os.environ.get("HERMESD_TEST_SET_CLOCK"):
        pytest.skip("sets the machine's clock: only with HERMESD_TEST_SET_CLOCK=1")
    alarm.set(time.time() + 3600)
    async with trio.open_nursery() as nursery:

        async def listen() -> None:
            assert await alarm.wait() == "clock"

        nursery.start_soon(listen)
        await wait_all_tasks_blocked()
        time.clock_settime(time.CLOCK_REALTIME, time.time())

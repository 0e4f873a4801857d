"""The watchdog names what holds the loop, and sleeps while nothing does. Real time: a stall is one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import trio

from hermesd.supervision.service import ServiceSpec
from hermesd.supervision.stall import KEPT, Stall, StallWatchdog
from hermesd.supervision.supervisor import Supervisor
from tests.waiting import PATIENCE_S, until, wait_until

from .conftest import Scripted

HELD_S = 0.3


class Holder:
    """Holds the loop for HELD_S, and on until the watchdog's thread has seen it: that may be slow to get its turn."""

    def __init__(self, watchdog: StallWatchdog) -> None:
        self.watchdog = watchdog
        self.held_s = 0.0

    def hold_the_loop(self) -> None:
        began = time.perf_counter()
        while time.perf_counter() - began < HELD_S or not (self.is_caught or time.perf_counter() - began > PATIENCE_S):
            time.sleep(0.01)
        self.held_s = time.perf_counter() - began

    @property
    def is_caught(self) -> bool:
        caught = self.watchdog._caught
        return caught is not None and "hold_the_loop" in caught.stack

    async def block_the_loop(self, task_status: trio.TaskStatus[None]) -> None:
        """A service with a bug: a task of its own sleeps without await."""

        async def buggy_part() -> None:
            self.hold_the_loop()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(buggy_part)
        task_status.started()
        await trio.sleep_forever()

    async def recorded(self) -> Stall:
        """The stall, once the thread has recorded it. Other tasks may be held up by other programs meanwhile."""
        [stall, *_] = await until(lambda: [each for each in self.watchdog.stalls if "hold_the_loop" in each.stack])
        return stall


async def test_a_service_that_blocks_the_loop_is_named_with_its_stack(
    root: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    """300 ms of time.sleep in a task of a service: its path, the task, the function, the duration, and a warning."""
    watchdog = StallWatchdog()
    holder = Holder(watchdog)
    before = time.time()
    with watchdog.watching():
        began = time.perf_counter()
        await root.add(ServiceSpec("profile/coder/telegram", lambda: Scripted(holder.block_the_loop)))
        stall = await holder.recorded()
        longest_s = time.perf_counter() - began
    assert stall.service == "profile/coder/telegram"
    assert "buggy_part" in stall.task
    assert "hold_the_loop" in stall.stack.splitlines()[-2]
    assert holder.held_s - 0.001 <= stall.duration_s <= longest_s + 0.001
    assert before - 1 < stall.at < time.time()
    assert "profile/coder/telegram held the loop for" in caplog.text


async def test_the_stack_leaves_out_the_loop_itself() -> None:
    """Only frames of the task are shown, outermost first."""
    watchdog = StallWatchdog(threshold_s=0.05)
    holder = Holder(watchdog)
    with watchdog.watching():
        await trio.lowlevel.checkpoint()
        holder.hold_the_loop()
        stall = await holder.recorded()
    assert "unrolled_run" not in stall.stack
    assert stall.service == ""


async def test_a_busy_loop_of_short_slices_is_no_stall() -> None:
    """Much work in small pieces holds nobody up; a piece during which another program had the processor may."""
    watchdog = StallWatchdog(threshold_s=0.3)
    longest = 0.0
    with watchdog.watching():
        began = before = time.perf_counter()
        while before - began < 0.7:
            await trio.lowlevel.checkpoint()
            now = time.perf_counter()
            longest, before = max(longest, now - before), now
    assert not watchdog.stalls or longest > 0.3 / 3


async def test_waiting_for_long_is_no_stall() -> None:
    """A loop that waits for input or time is idle, not held."""
    watchdog = StallWatchdog(threshold_s=0.02)
    with watchdog.watching():
        await trio.sleep(0.5)
    assert not [stall for stall in watchdog.stalls if stall.duration_s > 0.4]


def voluntary_switches(thread_id: int | None) -> int:
    """How often a thread of ours has gone to sleep (proc_pid_status(5))."""
    status = Path(f"/proc/self/task/{thread_id}/status").read_text()
    return int(status.split("voluntary_ctxt_switches:")[1].split()[0])


async def test_the_thread_of_an_idle_loop_does_not_wake_up() -> None:
    """Parked means parked: no wake-ups while the loop waits, and a stall after it is caught all the same."""
    watchdog = StallWatchdog()
    holder = Holder(watchdog)

    def wake_ups() -> int:
        """Of its thread, within 0.4 s that begin when it has parked. The loop does nothing at all in this time."""
        (thread,) = (each for each in threading.enumerate() if each.name == "stall watchdog")
        wait_until(lambda: watchdog._parked)
        before = voluntary_switches(thread.native_id)
        time.sleep(0.4)  # not for something: nothing is to happen
        return voluntary_switches(thread.native_id) - before

    with watchdog.watching():
        found = await trio.to_thread.run_sync(wake_ups)
        holder.hold_the_loop()
        assert await holder.recorded()
    assert found <= 1, "looking at intervals makes eight; one is that of parking itself"


async def test_only_the_last_stalls_are_kept() -> None:
    """The memory of stalls is bounded."""
    assert StallWatchdog().stalls.maxlen == KEPT


async def test_the_watchdog_leaves_nothing_behind() -> None:
    """No thread and no instrument after the block."""
    with StallWatchdog().watching():
        pass
    assert not [each for each in threading.enumerate() if each.name == "stall watchdog"]

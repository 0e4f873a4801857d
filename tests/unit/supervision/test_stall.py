"""The watchdog names what holds the loop, and sleeps while nothing does. Real time: a stall is one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import trio

from hermesd.supervision.service import ServiceSpec
from hermesd.supervision.stall import KEPT, StallWatchdog
from hermesd.supervision.supervisor import Supervisor

from .conftest import Scripted


async def block_the_loop(task_status: trio.TaskStatus[None]) -> None:
    """A service with a bug: a task of its own sleeps without await."""

    async def buggy_part() -> None:
        time.sleep(0.3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(buggy_part)
    task_status.started()
    await trio.sleep_forever()


async def recorded(watchdog: StallWatchdog, count: int = 1) -> None:
    """Return when the thread has recorded so many stalls."""
    with trio.fail_after(5):
        while len(watchdog.stalls) < count:
            await trio.sleep(0.005)  # the record is made by a thread that tells nobody: a test may look at it


async def test_a_service_that_blocks_the_loop_is_named_with_its_stack(
    root: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    """300 ms of time.sleep in a task of a service: its path, the task, the line, the duration, and a warning."""
    watchdog = StallWatchdog()
    with watchdog.watching():
        await root.add(ServiceSpec("profile/coder/telegram", lambda: Scripted(block_the_loop)))
        await recorded(watchdog)
    stall = watchdog.stalls[0]
    assert stall.service == "profile/coder/telegram"
    assert "buggy_part" in stall.task
    assert "time.sleep(0.3)" in stall.stack.splitlines()[-1]
    assert 0.25 < stall.duration_s < 2.0
    assert abs(stall.at - time.time()) < 30
    assert "profile/coder/telegram held the loop for" in caplog.text


async def test_the_stack_leaves_out_the_loop_itself() -> None:
    """Only frames of the task are shown, outermost first."""
    watchdog = StallWatchdog(threshold_s=0.05)
    with watchdog.watching():
        await trio.lowlevel.checkpoint()
        time.sleep(0.2)
        await recorded(watchdog)
    assert "unrolled_run" not in watchdog.stalls[0].stack
    assert watchdog.stalls[0].service == ""


async def test_a_busy_loop_of_short_slices_is_no_stall() -> None:
    """Much work in small pieces holds nobody up."""
    watchdog = StallWatchdog(threshold_s=0.5)
    with watchdog.watching():
        until = time.perf_counter() + 0.7
        while time.perf_counter() < until:
            await trio.lowlevel.checkpoint()
    assert not watchdog.stalls


async def test_waiting_for_long_is_no_stall() -> None:
    """A loop that waits for input or time is idle, not held."""
    watchdog = StallWatchdog(threshold_s=0.02)
    with watchdog.watching():
        await trio.sleep(0.3)
    assert not watchdog.stalls


def voluntary_switches(thread_id: int | None) -> int:
    """How often a thread of ours has gone to sleep (proc_pid_status(5))."""
    status = Path(f"/proc/self/task/{thread_id}/status").read_text()
    return int(status.split("voluntary_ctxt_switches:")[1].split()[0])


async def test_the_thread_of_an_idle_loop_does_not_wake_up() -> None:
    """Parked means parked: not one wake-up while the loop waits, and a stall after it is caught all the same."""
    watchdog = StallWatchdog()
    samples: list[int] = []
    with watchdog.watching():
        (thread,) = (each for each in threading.enumerate() if each.name == "stall watchdog")
        assert thread.native_id is not None
        sampler = [
            threading.Timer(at, lambda: samples.append(voluntary_switches(thread.native_id))) for at in (0.2, 0.6)
        ]
        for timer in sampler:
            timer.start()
        await trio.sleep(0.7)  # the loop does nothing at all in this time, and that is what is tested
        for timer in sampler:
            timer.join()
        time.sleep(0.25)
        await recorded(watchdog)
    assert samples[0] == samples[1]


async def test_only_the_last_stalls_are_kept() -> None:
    """The memory of stalls is bounded."""
    assert StallWatchdog().stalls.maxlen == KEPT


async def test_the_watchdog_leaves_nothing_behind() -> None:
    """No thread and no instrument after the block."""
    with StallWatchdog().watching():
        pass
    assert not [each for each in threading.enumerate() if each.name == "stall watchdog"]

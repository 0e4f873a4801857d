"""Shutdown is ordered and bounded, whatever services do."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hermesd.errors import ConflictError
from hermesd.supervision.service import ServiceSpec
from hermesd.supervision.supervisor import Supervisor
from tests.cost import LINEAR, growth_async

from .conftest import Recorder, idle, spec, stubborn


async def hang() -> None:
    """A drain that never ends."""
    await trio.sleep_forever()


def noting(log: list[str], word: str, *, takes_s: float = 0.0) -> Callable[[], Awaitable[None]]:
    """A drain that takes some time and notes that it was done."""

    async def drain() -> None:
        await trio.sleep(takes_s)
        log.append(word)

    return drain


async def test_run_returns_after_shutdown() -> None:
    """A supervisor whose children are gone is done."""
    supervisor = Supervisor("hermesd")
    await supervisor.add(spec("store"))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        assert await supervisor.shutdown(1) == []
    assert supervisor.status().state == "stopped"


async def test_groups_stop_from_the_highest_to_the_lowest(root: Supervisor, autojump_clock: MockClock) -> None:
    """A group begins to stop when everything above it is gone; within a group all drain at once."""
    log: list[str] = []

    def ends(word: str) -> Callable[[trio.TaskStatus[None]], Awaitable[None]]:
        async def run(task_status: trio.TaskStatus[None]) -> None:
            try:
                await idle(task_status)
            finally:
                log.append(word)

        return run

    await root.add(spec("store", ends("store gone"), group=0, drain=noting(log, "store drained")))
    await root.add(spec("turns", ends("turns gone"), group=5, drain=noting(log, "turns drained", takes_s=2)))
    await root.add(spec("rpc", ends("rpc gone"), group=9, drain=noting(log, "rpc drained", takes_s=3)))
    await root.add(spec("http", ends("http gone"), group=9, drain=noting(log, "http drained", takes_s=1)))
    await root.shutdown(60)
    assert log == [
        *("http drained", "http gone", "rpc drained", "rpc gone"),
        *("turns drained", "turns gone", "store drained", "store gone"),
    ]
    assert trio.current_time() == 5


async def test_a_drain_that_hangs_is_cut_by_its_policy(root: Supervisor, autojump_clock: MockClock) -> None:
    """policy.drain_s bounds the drain, then the service is cancelled."""
    await root.add(spec("telegram", drain=hang, drain_s=7))
    assert await root.shutdown(60) == []
    assert trio.current_time() == 7


async def test_a_drain_that_hangs_is_cut_by_the_deadline(root: Supervisor, autojump_clock: MockClock) -> None:
    """The shutdown's own deadline bounds all drains together."""
    await root.add(spec("telegram", drain=hang, group=2, drain_s=70))
    await root.add(spec("delivery", drain=hang, group=1, drain_s=70))
    assert await root.shutdown(20) == []
    assert trio.current_time() == 20


async def test_a_service_that_ignores_cancellation_holds_up_nobody_and_is_named(
    root: Supervisor, autojump_clock: MockClock
) -> None:
    """After stop_s the others are stopped all the same, and the culprit is reported by its path."""
    await root.add(spec("store", group=0))
    coder = Supervisor("coder")
    await root.add(ServiceSpec("profile/coder", lambda: coder, group=1))
    await coder.add(spec("telegram", stubborn, stop_s=4))
    await coder.add(spec("turns"))
    assert await root.shutdown(10) == ["profile/coder/telegram"]
    assert trio.current_time() == 4
    status = root.status()
    assert [(child.name, child.state) for child in status.children[1].children] == [
        ("profile/coder/telegram", "draining"),
        ("profile/coder/turns", "stopped"),
    ]
    assert status.children[0].state == "stopped"
    assert "ignored its cancellation for 4 s" in status.children[1].children[0].last_error


async def test_time_in_which_the_machine_stood_still_is_not_held_against_a_service(
    root: Supervisor, mock_clock: MockClock
) -> None:
    """It was stopped as this process was: when both go on, it has time to end."""

    async def careful(task_status: trio.TaskStatus[None]) -> None:
        try:
            await idle(task_status)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                await trio.sleep(1)

    await root.add(spec("telegram", careful, stop_s=8))
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(root.stop, "telegram")
            for seconds in (0.5, 600, 1):
                await wait_all_tasks_blocked()
                mock_clock.jump(seconds)
    finally:
        mock_clock.autojump_threshold = 0  # whatever came of it, the service ends
    assert root.find("telegram").state == "stopped"


async def test_a_service_that_ignored_its_stop_for_a_while_is_stopped_when_it_ends(
    root: Supervisor, autojump_clock: MockClock
) -> None:
    """Stop reports the conflict; the state becomes true when the service gives in; then it can be started."""

    async def slow(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        with trio.CancelScope(shield=True):
            await trio.sleep(50)

    await root.add(spec("telegram", slow, stop_s=1))
    with pytest.raises(ConflictError):
        await root.stop("telegram")
    with pytest.raises(ConflictError):
        await root.start("telegram")
    with pytest.raises(ConflictError):
        await root.remove("telegram")
    await trio.sleep(100)
    assert root.find("telegram").state == "stopped"
    assert (await root.start("telegram")).state == "ready"


async def test_a_stop_in_start_does_not_wait_for_readiness(
    root: Supervisor, changes: Recorder, autojump_clock: MockClock
) -> None:
    """What is still starting is cancelled at once, without a drain."""

    async def never(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    await root.add(spec("telegram", never, drain=hang), wait=False)
    await wait_all_tasks_blocked()
    assert await root.shutdown(60) == []
    assert trio.current_time() == 0
    assert changes.states("telegram") == ["starting", "draining", "stopped"]


async def test_a_second_stop_during_drain_sets_the_deadline_to_now(
    root: Supervisor, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Case 31: the second request ends all draining, at any depth, and keeps the order of groups."""
    log: list[str] = []
    coder = Supervisor("coder")
    await root.add(ServiceSpec("profile/coder", lambda: coder, group=2))
    await coder.add(spec("telegram", drain=hang, drain_s=1000))
    await root.add(spec("store", group=1, drain=noting(log, "store drained", takes_s=1)))
    nursery.start_soon(root.shutdown, 500)
    await trio.sleep(3)
    assert root.find("profile/coder/telegram").state == "draining"
    assert await root.shutdown(500) == []
    assert trio.current_time() == 3
    assert log == []


async def test_a_shutdown_hurries_a_stop_already_under_way(
    root: Supervisor, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """A service being stopped by hand has no more time than the shutdown gives."""
    await root.add(spec("telegram", drain=hang, drain_s=1000))
    nursery.start_soon(root.stop, "telegram")
    await wait_all_tasks_blocked()
    await root.shutdown(10)
    assert trio.current_time() == 10


async def test_a_drain_that_fails_is_followed_by_the_cancel(root: Supervisor) -> None:
    """An error while draining is shown and holds nothing up."""

    async def drain() -> None:
        raise ValueError("cannot drain")

    await root.add(spec("telegram", drain=drain))
    status = await root.stop("telegram")
    assert (status.state, status.last_error) == ("stopped", "while draining: ValueError: cannot drain")


async def test_a_service_that_ends_while_it_drains_is_not_waited_for(
    root: Supervisor, autojump_clock: MockClock
) -> None:
    """Returning from run is as good as returning from drain."""
    draining = trio.Event()

    async def run(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await draining.wait()

    async def drain() -> None:
        draining.set()
        await trio.sleep_forever()

    await root.add(spec("telegram", run, drain=drain))
    assert (await root.stop("telegram")).state == "stopped"
    assert trio.current_time() == 0


async def test_a_stop_whose_caller_goes_away_is_carried_through(root: Supervisor, autojump_clock: MockClock) -> None:
    """A client that hangs up during a stop leaves no half-stopped service."""
    await root.add(spec("telegram", drain=hang, drain_s=5))
    with trio.move_on_after(1):
        await root.stop("telegram")
    assert root.find("telegram").state == "draining"
    await trio.sleep(5)
    assert root.find("telegram").state == "stopped"


async def test_nothing_is_added_to_a_supervisor_that_stops(
    root: Supervisor, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    """Stop accepting comes first."""
    await root.add(spec("telegram", drain=hang, drain_s=5))
    nursery.start_soon(root.shutdown, 60)
    await wait_all_tasks_blocked()
    with pytest.raises(ConflictError):
        await root.add(spec("late"))
    with pytest.raises(ConflictError):
        await root.start("telegram")


async def stopping(count: int) -> float:
    """CPU seconds of the loop, for the stop of so many services."""
    supervisor = Supervisor("hermesd")
    for number in range(count):
        await supervisor.add(spec(f"s{number}"))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await wait_all_tasks_blocked()
        assert all(child.state == "ready" for child in supervisor.status().children)
        began = time.thread_time()
        assert await supervisor.shutdown(60) == []
        took = time.thread_time() - began
    assert all(child.state == "stopped" for child in supervisor.status().children)
    return took


async def test_the_stop_of_a_thousand_services_costs_linear_time() -> None:
    """How long it takes is measured in bench/supervision.py."""
    assert await growth_async(stopping, 125) < LINEAR

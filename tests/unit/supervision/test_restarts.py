"""Backoff, intensity cap, healthy reset and budgets, in virtual time."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hermesd.errors import StoreError
from hermesd.supervision.supervisor import Supervisor

from .conftest import Recorder, idle, spec


class Crashing:
    """A service body that is ready for ``up_s`` and then breaks; it knows when it was started."""

    def __init__(self, up_s: float = 0.0) -> None:
        self.up_s = up_s
        self.starts: list[float] = []

    async def __call__(self, task_status: trio.TaskStatus[None]) -> None:
        self.starts.append(trio.current_time())
        task_status.started()
        await trio.sleep(self.up_s)
        raise ValueError("broken")


class Recovering:
    """A service body that breaks once, before it is ready, and is well from then on."""

    def __init__(self) -> None:
        self.has_broken = False

    async def __call__(self, task_status: trio.TaskStatus[None]) -> None:
        if not self.has_broken:
            self.has_broken = True
            raise ValueError("broken once")
        await idle(task_status)


async def test_the_first_restart_is_immediate(root: Supervisor, autojump_clock: MockClock) -> None:
    """The policy's immediate restarts take no time."""
    body = Crashing()
    await root.add(spec("telegram", body, immediate=3, base_s=1000, cap_s=1000))
    await trio.sleep(1)
    assert body.starts == [0.0] * 4


async def test_waits_grow_to_the_cap_with_full_jitter(root: Supervisor, autojump_clock: MockClock) -> None:
    """Each wait lies between nothing and its ceiling, the ceiling doubles up to the cap, and waits differ."""
    body = Crashing()
    await root.add(spec("telegram", body, immediate=0, base_s=1, cap_s=8, max_restarts=100, period_s=10_000))
    await trio.sleep(300)
    waits = [b - a for a, b in pairwise(body.starts)]
    ceilings = [min(8.0, 2.0**n) for n in range(len(waits))]
    assert len(waits) > 30
    assert all(0 <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True))
    assert len(set(waits)) == len(waits)
    assert max(waits[5:]) > 4 > min(waits[5:])


async def test_the_intensity_cap_ends_in_failed_with_the_error(
    root: Supervisor, changes: Recorder, autojump_clock: MockClock
) -> None:
    """Beyond the cap the service is failed, visibly, and stays so while its neighbours notice nothing."""
    body = Crashing()
    for number in range(20):
        await root.add(spec(f"neighbour-{number}"))
    await root.add(spec("telegram", body, max_restarts=5, period_s=100))
    await trio.sleep(10_000)
    status = root.find("telegram")
    assert (status.state, status.restarts, len(body.starts)) == ("failed", 5, 6)
    assert status.last_error == "ValueError: broken (gave up after 5 restarts in 100 s)"
    assert changes.states("telegram")[-1] == "failed"
    for number in range(20):
        assert changes.states(f"neighbour-{number}") == ["starting", "ready"]


async def test_a_service_that_was_healthy_is_forgiven(root: Supervisor, autojump_clock: MockClock) -> None:
    """After a long ready time the next failure is the first again: restart at once, and no cap in sight."""
    body = Crashing(up_s=61)
    await root.add(spec("telegram", body, max_restarts=2, period_s=1e6, healthy_after_s=60))
    await trio.sleep(61 * 50 + 1)
    assert len(body.starts) == 51
    assert root.find("telegram").state == "ready"


async def test_a_service_that_merely_starts_is_not_forgiven(root: Supervisor, autojump_clock: MockClock) -> None:
    """Ready for less than healthy_after_s counts as a failure like any other."""
    body = Crashing(up_s=59)
    await root.add(spec("telegram", body, max_restarts=3, period_s=1e6, healthy_after_s=60))
    await trio.sleep(2000)
    assert root.find("telegram").state == "failed"


async def test_healthy_services_set_no_timer(root: Supervisor) -> None:
    """Nothing is due while services are ready: the loop's next deadline is infinitely far."""
    for number in range(5):
        await root.add(spec(f"s{number}"))
    await wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")


async def test_a_start_that_takes_too_long_is_a_failure(root: Supervisor, autojump_clock: MockClock) -> None:
    """A service that never says started() is cancelled and tried again."""

    async def never(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    status = await root.add(spec("telegram", never, start_timeout_s=30, max_restarts=1))
    assert trio.current_time() == 60
    assert (status.state, status.restarts) == ("failed", 1)
    assert "not ready within 30 s" in status.last_error


async def test_a_ready_service_is_not_bound_by_the_start_timeout(root: Supervisor, autojump_clock: MockClock) -> None:
    """The time-out ends with started()."""
    await root.add(spec("telegram", start_timeout_s=30))
    await trio.sleep(1000)
    assert (root.find("telegram").state, root.find("telegram").restarts) == ("ready", 0)


@pytest.mark.parametrize(
    ("kind", "fails", "state"),
    [
        ("permanent", False, "failed"),
        ("permanent", True, "failed"),
        ("transient", False, "stopped"),
        ("transient", True, "failed"),
        ("temporary", False, "stopped"),
        ("temporary", True, "failed"),
    ],
)
async def test_the_kind_decides_who_is_restarted(
    root: Supervisor, autojump_clock: MockClock, kind: str, fails: bool, state: str
) -> None:
    """permanent: always; transient: after failures; temporary: never."""

    async def run(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if fails:
            raise ValueError("broken")

    await root.add(spec("job", run, kind=kind, max_restarts=2))
    await trio.sleep(100)
    restarted = kind == "permanent" or (kind == "transient" and fails)
    assert (root.find("job").state, root.find("job").restarts) == (state, 2 if restarted else 0)


async def test_backoff_says_when_it_ends_and_a_start_ends_it_now(root: Supervisor, autojump_clock: MockClock) -> None:
    """next_try_at is shown; a person need not wait for it."""
    body = Recovering()
    status = await root.add(spec("telegram", body, immediate=0, base_s=1000, cap_s=1000))
    assert status.state == "backoff"
    assert 0 < status.next_try_at <= 1000
    assert (await root.start("telegram")).state == "ready"
    assert trio.current_time() == 0
    assert root.find("telegram").next_try_at == 0


async def test_a_service_in_backoff_can_be_stopped(root: Supervisor, changes: Recorder) -> None:
    """Stop ends the wait; nothing is started afterwards."""
    body = Crashing()
    await root.add(spec("telegram", body, immediate=0, base_s=1000, cap_s=1000))
    await wait_all_tasks_blocked()
    assert (await root.stop("telegram")).state == "stopped"
    assert changes.states("telegram") == ["starting", "ready", "backoff", "stopped"]


class Values:
    """A budget store in a dictionary, as slow or broken as told."""

    def __init__(self) -> None:
        self.rows: dict[str, list[float]] = {}
        self.broken = False
        self.slow_s = 0.0

    async def load(self, key: str) -> list[float]:
        return list((await self._row()).get(key, []))

    async def save(self, key: str, times: list[float]) -> None:
        (await self._row())[key] = times

    async def _row(self) -> dict[str, list[float]]:
        await trio.sleep(self.slow_s)
        if self.broken:
            raise StoreError("the disk is full")
        return self.rows


async def life(store: Values, body: object, *, at: float, for_s: float, by_hand: bool = False, **policy: object) -> str:
    """One life of a daemon with one service in it, from an epoch time on; returns the service's last state."""
    offset = at - trio.current_time()
    supervisor = Supervisor("hermesd", budgets=store, wall=lambda: trio.current_time() + offset, rng=random.Random(7))
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.add(spec("telegram", body, **policy))
        if by_hand:
            await supervisor.start("telegram")
        await trio.sleep(for_s)
        state = supervisor.find("telegram").state
        await supervisor.shutdown(1)
    return state


async def test_restarts_count_over_the_daemons_own_restart(autojump_clock: MockClock) -> None:
    """A service that used up its budget is not started by the next daemon until the period is over."""
    store = Values()
    body = Crashing()
    policy = {"max_restarts": 4, "period_s": 300.0, "immediate": 9}
    assert await life(store, body, at=1e9, for_s=10, **policy) == "failed"
    assert len(body.starts) == 5
    assert await life(store, body, at=1e9 + 100, for_s=10, **policy) == "failed"
    assert len(body.starts) == 5
    assert await life(store, body, at=1e9 + 400, for_s=10, **policy) == "failed"
    assert len(body.starts) == 10


async def test_a_person_may_start_what_an_earlier_life_gave_up(autojump_clock: MockClock) -> None:
    """A start by hand forgives what the store remembers."""
    store = Values()
    await life(store, Crashing(), at=1e9, for_s=10, max_restarts=1)
    assert await life(store, idle, at=1e9 + 10, for_s=0, max_restarts=1) == "failed"
    assert await life(store, idle, at=1e9 + 20, for_s=0, max_restarts=1, by_hand=True) == "ready"
    assert await life(store, idle, at=1e9 + 30, for_s=0, max_restarts=1) == "ready"


async def test_a_healthy_life_leaves_no_debt(autojump_clock: MockClock) -> None:
    """What was forgiven is forgotten in the store too, at the latest when the service is stopped."""
    store = Values()
    assert await life(store, Recovering(), at=1e9, for_s=100, period_s=1000) == "ready"
    assert store.rows == {"restarts:telegram": []}


async def test_starts_of_a_day_are_bounded_over_restarts_of_the_daemon(autojump_clock: MockClock) -> None:
    """However often the daemon restarts, no more than max_starts_per_day in 24 hours; a day later they are free."""
    store = Values()
    body = Crashing(up_s=100)
    policy = {"max_starts_per_day": 20, "healthy_after_s": 60.0}
    for number in range(10):
        await life(store, body, at=1e9 + number * 1000, for_s=450, **policy)
    assert len(body.starts) == 20
    assert await life(store, body, at=1e9 + 86_400 + 500, for_s=10, **policy) == "ready"


async def test_a_broken_or_slow_store_delays_no_restart(autojump_clock: MockClock) -> None:
    """Reading costs a bounded wait at the first start; saving costs a restart nothing."""
    store = Values()
    body = Crashing()
    store.slow_s = 3.0
    assert await life(store, body, at=1e9, for_s=1, max_restarts=3, immediate=9) == "failed"
    assert body.starts == [1.0] * 4
    store.slow_s, store.broken = 0.0, True
    assert await life(store, Recovering(), at=1e9, for_s=0, immediate=0, base_s=100) == "backoff"

"""The scheduler on a real store, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hermesd.store.records import Address, JobRow, NewEvent, Occurrence
from hermesd.store.sqlite import SqliteStore
from hermesd.triggers.alarm import Ring
from hermesd.triggers.job import JobSpec, encode
from hermesd.triggers.schedule import parse
from hermesd.triggers.scheduler import Scheduler

START = 1_800_000_000.0
HOUR = 3600.0
DAY = 24 * HOUR


class World:
    """A wall clock that is moved by hand, and the alarms on it."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.time = START
        self._at: float | None = None
        self.asleep = trio.Event()
        self.watched = False
        self._rings, self._heard = trio.open_memory_channel[Ring](100)

    def set(self, at: float | None) -> None:
        self._at = at
        self.asleep.set()
        while True:
            try:
                self._heard.receive_nowait()
            except trio.WouldBlock:
                break
        if at is not None and at <= self.time:
            self._rings.send_nowait("due")

    async def wait(self) -> Ring:
        return await self._heard.receive()

    def close(self) -> None:
        """Nothing to give back."""

    async def pass_to(self, time: float) -> None:
        """Time goes by."""
        self.time = time
        if self._at is not None and self._at <= time:
            await self._ring("due")

    async def step_to(self, time: float) -> None:
        """Somebody sets the clock."""
        self.time = time
        await self._ring("clock")

    async def _ring(self, ring: Ring) -> None:
        """Ring, and wait until the scheduler has done what it has to and sets its alarm anew."""
        self.asleep = trio.Event()
        self._rings.send_nowait(ring)
        await self.asleep.wait()
        await wait_all_tasks_blocked()

    async def put(self, row: JobRow) -> JobRow:
        """A change that a running scheduler takes notice of."""
        self.asleep = trio.Event()
        kept = await self.store.jobs.put(row)
        if self.watched:
            await self.asleep.wait()
        return kept

    def event_of(self, job: JobRow, spec: JobSpec, instant: float) -> NewEvent | None:
        if spec.script:
            return None
        return NewEvent(
            profile=job.profile,
            source=f"cron:{job.id}",
            delivery_id=str(instant),
            session_key=f"agent:{job.profile}:cron:dm:{job.id}:{instant}",
            text=spec.prompt,
            address=Address(platform="local"),
        )

    async def add(self, name: str = "job", text: str = "every 1h", **fields: object) -> JobRow:
        spec = JobSpec(schedule=parse(text, zone_name="UTC", now=self.time), prompt=name, **fields)  # type: ignore[arg-type]  # a test's own
        due = spec.schedule.after(self.time) or 0.0
        row = JobRow(id=name, profile="default", name=name, spec=encode(spec), due_at=due, next_at=due)
        return await self.put(row)

    async def runs(self, job_id: str = "job") -> list[tuple[float, str]]:
        """(hours after START, state), oldest first."""
        rows = await self.store.jobs.runs(job_id=job_id, limit=1000)
        return [((row.due_at - START) / HOUR, row.state) for row in reversed(rows)]


@pytest.fixture
async def world(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[World]:
    store = SqliteStore.open(tmp_path / "state.db")
    await nursery.start(lambda task_status: store.run(task_status=task_status))
    yield World(store)
    store.close()


async def begin(world: World, nursery: trio.Nursery) -> trio.CancelScope:
    """A scheduler, until its scope is cancelled."""
    scope = trio.CancelScope()
    scheduler = Scheduler(world.store, event_of=world.event_of, clock=lambda: world, now=lambda: world.time)

    async def run(task_status: trio.TaskStatus[None]) -> None:
        with scope:
            await scheduler.run(task_status=task_status)

    world.watched = True
    world.asleep = trio.Event()
    await nursery.start(run)
    await world.asleep.wait()
    await wait_all_tasks_blocked()
    return scope


async def finish_all(world: World) -> None:
    """Answer every event that waits."""
    for row in await world.store.waiting("default"):
        session = await world.store.open_session("default", row.session_key, source=row.source)
        begun = await world.store.begin_turn(row.id, session_id=session.id)
        await world.store.finish_turn(begun.turn.id, state="done", inbox_state="done")


async def test_an_occurrence_becomes_an_event_of_the_inbox(world: World, nursery: trio.Nursery) -> None:
    """At its instant, not before; and the next one an hour later."""
    await begin(world, nursery)
    await world.add(overlap="allow")
    await world.pass_to(START + HOUR - 1)
    assert await world.runs() == []
    await world.pass_to(START + HOUR)
    await world.pass_to(START + 2 * HOUR)
    assert await world.runs() == [(1, "handed"), (2, "handed")]
    rows = await world.store.waiting("default")
    assert [row.source for row in rows] == ["cron:job", "cron:job"]
    assert (await world.store.jobs.get("job")).fired == 2


async def test_a_run_under_way_keeps_the_next_one_out(world: World, nursery: trio.Nursery) -> None:
    """overlap: forbid. Once it has ended, the next one runs."""
    await begin(world, nursery)
    await world.add()
    await world.pass_to(START + HOUR)
    await world.pass_to(START + 2 * HOUR)
    await finish_all(world)
    await world.pass_to(START + 3 * HOUR)
    assert await world.runs() == [(1, "handed"), (2, "skipped"), (3, "handed")]


async def test_a_job_may_be_changed_paused_and_removed_while_it_waits(world: World, nursery: trio.Nursery) -> None:
    """The heap follows the store."""
    await begin(world, nursery)
    job = await world.add(overlap="allow")
    sooner = await world.add("job", "every 10m", overlap="allow")
    assert sooner.id == job.id
    await world.pass_to(START + 600)
    assert len(await world.runs()) == 1
    paused = await world.store.jobs.get("job")
    await world.put(msgspec.structs.replace(paused, state="paused"))
    await world.pass_to(START + HOUR)
    assert len(await world.runs()) == 1
    ahead = START + 3 * HOUR
    await world.put(msgspec.structs.replace(paused, due_at=ahead, next_at=ahead))
    world.asleep = trio.Event()
    await world.store.jobs.delete("job")
    await world.asleep.wait()
    await world.pass_to(START + 4 * HOUR)
    assert len(await world.runs()) == 1


async def test_after_a_restart_what_was_missed_runs_once(world: World, nursery: trio.Nursery) -> None:
    """Two days later one run is made up for."""
    scope = await begin(world, nursery)
    await world.add()
    scope.cancel()
    await wait_all_tasks_blocked()
    world.time = START + 48.5 * HOUR
    await begin(world, nursery)
    assert await world.runs() == [(48, "handed")]
    assert (await world.store.jobs.get("job")).due_at == START + 49 * HOUR


@pytest.mark.parametrize("step", [HOUR, DAY])
async def test_a_clock_put_forward_is_no_burst(world: World, nursery: trio.Nursery, step: float) -> None:
    """One run for what was jumped over."""
    await begin(world, nursery)
    await world.add()
    await world.step_to(START + HOUR / 2 + step)
    assert len(await world.runs()) == 1


@pytest.mark.parametrize("step", [HOUR, DAY])
async def test_a_clock_put_back_neither_repeats_nor_loses(world: World, nursery: trio.Nursery, step: float) -> None:
    """Instants that came are known; what the clock had jumped over comes in its time."""
    await begin(world, nursery)
    await world.add(overlap="allow")
    for hour in (1, 2, 3):
        await world.pass_to(START + hour * HOUR)
    await world.step_to(START + 3.5 * HOUR + step)
    jumped = await world.runs()
    await world.step_to(START + 3.5 * HOUR)
    await world.pass_to(START + 4 * HOUR)
    await world.pass_to(START + 5 * HOUR)
    runs = await world.runs()
    assert runs[: len(jumped)] == jumped
    assert [due for due, _ in sorted(runs)][:5] == [1, 2, 3, 4, 5]
    assert len({due for due, _ in runs}) == len(runs)


async def test_a_last_repeat_ends_the_job(world: World, nursery: trio.Nursery) -> None:
    """It stays to be seen, as ended."""
    await begin(world, nursery)
    await world.add(repeat=2, overlap="allow")
    for hour in (1, 2, 3):
        await world.pass_to(START + hour * HOUR)
    assert len(await world.runs()) == 2
    assert (await world.store.jobs.get("job")).state == "ended"


async def test_an_occurrence_is_taken_up_once(world: World) -> None:
    """By hand or by a second scheduler: the row is there already."""
    job = await world.add(overlap="allow")
    occurrence = Occurrence(due_at=START + HOUR)
    first = await world.store.jobs.start(job.id, occurrence)
    assert first.state == "queued"
    with pytest.raises(Exception, match="was not started"):
        await world.store.jobs.start(job.id, occurrence)


async def test_many_jobs_at_one_instant_are_few_commits(world: World, nursery: trio.Nursery) -> None:
    """Each of 300 runs once, in two portions."""
    spec = JobSpec(schedule=parse("every 10s", zone_name="UTC", now=START), prompt="x")
    at = START + 10
    async with trio.open_nursery() as putting:
        for number in range(300):
            row = JobRow(id=f"j{number}", profile="p", name=f"n{number}", spec=encode(spec), due_at=at, next_at=at)
            putting.start_soon(world.store.jobs.put, row)
    await begin(world, nursery)
    await world.pass_to(at)
    rows = await world.store.jobs.runs(profile="p", limit=1000)
    assert len({row.job_id for row in rows}) == len(rows) == 300
    assert len({row.fired_at for row in rows}) == 2

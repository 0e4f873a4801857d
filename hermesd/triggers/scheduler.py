"""The scheduler: one task, one heap, asleep until the next instant. Nothing ticks.

due ──► what came (misfire, repeat, expiry) ──► one commit: runs, their events, each job's next instant ──► sleep

An occurrence is a row ``(job, instant)`` that can be inserted once, in the commit that moves its job on: however the
daemon is killed, and whatever the clock does, it comes once.
"""

from __future__ import annotations

import heapq
import logging
import time
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from hermesd.errors import NotFoundError, UsageError
from hermesd.store.records import Firing, Occurrence
from hermesd.triggers import job as jobs
from hermesd.triggers.alarm import Alarm
from hermesd.turns.persist import persist

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.store.protocol import Store
    from hermesd.store.records import EventRow, JobRow, NewEvent
    from hermesd.triggers.alarm import Ring
    from hermesd.triggers.job import JobSpec

log = logging.getLogger(__name__)

BATCH = 200
MISSED = "missed: the daemon was not running, or the clock was put forward"


class Clock(Protocol):
    """What the scheduler needs of an alarm; see ``triggers.alarm``."""

    def set(self, at: float | None) -> None:
        """Ring at an instant, or only when the clock is set."""

    async def wait(self) -> Ring:
        """Until it rings."""

    def close(self) -> None:
        """Give it back."""


class Scheduler:
    """A service. ``event_of(job, spec, instant)`` makes the event that begins a run; None: its script comes first."""

    def __init__(
        self,
        store: Store,
        *,
        event_of: Callable[[JobRow, JobSpec, float], NewEvent | None],
        clock: Callable[[], Clock] = Alarm,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._event_of = event_of
        self._clock = clock
        self._now = now
        self._heap: list[tuple[float, str]] = []
        self._next: dict[str, float] = {}
        self._changed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled."""
        unsubscribe = self._store.subscribe(self._on_events)
        alarm = self._clock()
        try:
            for at, job_id in await persist(self._store.jobs.timetable):
                self._plan(job_id, at)
            task_status.started()
            while True:
                await self._fire_due()
                self._changed = trio.Event()
                alarm.set(self._heap[0][0] if self._heap else None)
                if await self._sleep(alarm) == "clock":
                    await self._work_out_again()
                    log.warning("the clock was set; the next instants are worked out again")
        finally:
            alarm.close()
            unsubscribe()

    @property
    def waiting(self) -> int:
        """Jobs with a next instant."""
        return len(self._next)

    def _plan(self, job_id: str, at: float) -> None:
        """Put a job's next instant into the heap; a former one is passed over when its turn comes."""
        if not at:
            self._next.pop(job_id, None)
        elif self._next.get(job_id) != at:
            self._next[job_id] = at
            heapq.heappush(self._heap, (at, job_id))

    def _on_events(self, events: list[EventRow]) -> None:
        for event in events:
            if event.kind == "job.changed":
                at = float(str(event.data["next_at"])) if event.data["state"] == "active" else 0.0
                self._plan(event.subject, at)
            elif event.kind == "job.removed":
                self._plan(event.subject, 0.0)
            else:
                continue
            self._changed.set()

    async def _sleep(self, alarm: Clock) -> Ring:
        """Until the alarm rings, or a job is made, changed or removed."""
        ring: list[Ring] = []
        async with trio.open_nursery() as nursery:

            async def changed() -> None:
                await self._changed.wait()
                nursery.cancel_scope.cancel()

            nursery.start_soon(changed)
            ring.append(await alarm.wait())
            nursery.cancel_scope.cancel()
        return ring[0] if ring else "due"

    # -- firing --------------------------------------------------------------------------------------------------------

    async def _fire_due(self) -> None:
        """Everything that has come, in portions of one commit each."""
        while firings := await self._due():
            runs = await persist(lambda: self._store.jobs.fire(firings))
            for firing in firings:
                if self._next.get(firing.job_id) == firing.expected:  # otherwise it was edited meanwhile
                    del self._next[firing.job_id]
                    self._plan(firing.job_id, firing.next_at)
            log.debug("%d occurrence(s) of %d job(s) taken up", len(runs), len(firings))

    async def _due(self) -> list[Firing]:
        found: list[Firing] = []
        now = self._now()
        while self._heap and self._heap[0][0] <= now and len(found) < BATCH:
            at, job_id = heapq.heappop(self._heap)
            if self._next.get(job_id) != at:
                continue
            try:
                job = await self._store.jobs.get(job_id)
            except NotFoundError:
                self._next.pop(job_id, None)
                continue
            if job.state == "active" and job.next_at == at:
                found.append(self._firing(job, now))
        return found

    def _firing(self, job: JobRow, now: float) -> Firing:
        try:
            spec = jobs.decode(job.spec)
        except msgspec.ValidationError as error:  # written by another release: it must not stop all others
            log.error("job %s (%s) is not understood and paused: %s", job.id, job.name, error)  # noqa: TRY400 - known
            return Firing(job_id=job.id, expected=job.next_at, occurrences=[], due_at=0.0, next_at=0.0, state="paused")
        try:
            return self._due_of(job, spec, now)
        except UsageError as error:  # its time zone is not known any more: at a wrong hour it must not run
            log.error("job %s (%s) is paused: %s; %s", job.id, job.name, error.what, error.next_step)  # noqa: TRY400 - known
            missed = [Occurrence(due_at=job.due_at, skip=f"{error.what}; the job is paused")]
            return Firing(
                job_id=job.id, expected=job.next_at, occurrences=missed, due_at=0.0, next_at=0.0, state="paused"
            )

    def _due_of(self, job: JobRow, spec: JobSpec, now: float) -> Firing:
        due = jobs.due(spec, job.id, due_at=job.due_at, fired=job.fired, now=now)
        alone = spec.overlap == "forbid"
        occurrences = [Occurrence(due_at=each, skip=MISSED) for each in due.skipped]
        occurrences += [Occurrence(due_at=each, event=self._event_of(job, spec, each), alone=alone) for each in due.run]
        return Firing(
            job_id=job.id,
            expected=job.next_at,
            occurrences=sorted(occurrences, key=lambda each: each.due_at),
            due_at=due.due_at,
            next_at=due.next_at,
            state="active" if due.next_at else "ended",
        )

    async def _work_out_again(self) -> None:
        """After the clock was put back a job must not wait for the instant it had before.

        What comes a second time is known by its row and not run again.
        """
        now = self._now()
        for at, job_id in await persist(self._store.jobs.timetable):
            if at <= now:
                continue
            job = await self._store.jobs.get(job_id)
            spec = jobs.decode(job.spec)
            try:
                instant = spec.schedule.after(now)
            except UsageError:
                continue  # it is said when the job is due
            if instant is not None and instant < job.due_at:
                next_at = instant + jobs.jitter(spec, job.id, instant)
                firing = Firing(
                    job_id=job_id, expected=at, occurrences=[], due_at=instant, next_at=next_at, state="active"
                )
                await persist(lambda: self._store.jobs.fire([firing]))  # noqa: B023 - awaited here
                self._plan(job_id, next_at)

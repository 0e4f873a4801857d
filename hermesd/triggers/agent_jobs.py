"""Jobs as the agent's ``cron`` tool sees them: those of its own profile, delivered where it is being talked to.

What a person may do without end, an agent may not: it makes jobs up to a number, and none that runs all the time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hermesd.errors import ConflictError, UsageError
from hermesd.rpc.wire_cron import JobFields
from hermesd.triggers.job import decode
from hermesd.triggers.schedule import parse, spell
from hermesd.triggers.turn_check import warnings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.store.protocol import Store
    from hermesd.store.records import Address, JobRow, RunRow
    from hermesd.triggers.desk import JobDesk
    from hermesd.triggers.turn_check import Owner


MAX_JOBS = 100  # of its profile, whoever made them
MIN_INTERVAL_S = 60


@dataclass(frozen=True, slots=True)
class AgentJobs:
    """``tools.base.Jobs`` of one turn. ``origin`` is where its answer goes, if that is a chat."""

    store: Store
    desk: JobDesk
    owner: Callable[[], Owner]
    origin: Address | None
    ensure: Callable[[], Awaitable[None]]
    run_now: Callable[[JobRow], Awaitable[RunRow]]

    async def create(self, schedule: str, prompt: str, *, name: str, deliver: str, repeat: int) -> str:
        """Make a job. Raises HermesError for what could not run, or would be too much."""
        if len(await self.store.jobs.listing(profile=self.owner().name)) >= MAX_JOBS:
            raise ConflictError(
                f"there are {MAX_JOBS} jobs already, more cannot be made from here",
                next_step="remove one that is not needed any more, or ask the user to",
            )
        self._check_pace(schedule)
        await self.ensure()
        fields = JobFields(
            schedule=schedule,
            prompt=prompt,
            name=name or None,
            deliver=deliver or ("origin" if self.origin else "local"),
            repeat=repeat or None,
        )
        job = await self.desk.create(self.owner(), fields, origin=self.origin)
        return f"made job {job.id} ({job.name}): {_when(job)}{self._warnings(job)}"

    async def update(self, reference: str, schedule: str, prompt: str, *, name: str, deliver: str, repeat: int) -> str:
        """Change what is given of a job. Raises HermesError."""
        fields = JobFields(
            schedule=schedule or None,
            prompt=prompt or None,
            name=name or None,
            deliver=deliver or None,
            repeat=repeat or None,
        )
        if fields == JobFields():
            raise UsageError("nothing to change", next_step="give schedule, prompt, name, deliver or repeat")
        self._check_pace(schedule)
        job = await self._find(reference, "update")
        await self.ensure()
        changed = await self.desk.edit(self.owner(), job, fields)
        return f"changed {changed.name}: {_when(changed)}{self._warnings(changed)}"

    def _warnings(self, job: JobRow) -> str:
        spec = decode(job.spec)
        return "".join(
            f"\nBut: {each.what}; {each.next_step}" for each in warnings(self.owner(), spec, origin=spec.origin)
        )

    def _check_pace(self, schedule: str) -> None:
        if not schedule:
            return
        found = parse(schedule, zone_name=self.owner().timezone, now=time.time())
        if found.kind == "interval" and found.seconds < MIN_INTERVAL_S:
            raise UsageError(
                f"every {spell(found.seconds)} is too often for a job that is made from here",
                next_step=f"use every {spell(MIN_INTERVAL_S)} or longer",
            )

    async def _find(self, reference: str, action: str) -> JobRow:
        if not reference:
            raise UsageError(f"{action} needs a job", next_step="give its id or its name")
        return await self.desk.find(reference, profile=self.owner().name)

    async def listing(self) -> str:
        """A line for each job of the profile."""
        jobs = await self.store.jobs.listing(profile=self.owner().name)
        return "\n".join(f"{job.id} {job.name} ({job.state}): {_when(job)}" for job in jobs) or "there are no jobs"

    async def act(self, action: Literal["pause", "resume", "run", "remove"], reference: str) -> str:
        """Change one of the profile's jobs. Raises HermesError."""
        job = await self._find(reference, action)
        match action:
            case "run":
                await self.run_now(job)
                return f"started {job.name}"
            case "remove":
                await self.store.jobs.delete(job.id)
                return f"removed {job.name}"
        await self.ensure()
        changed = await self.desk.switch(job, paused=action == "pause")
        return f"{action}d {job.name}: {_when(changed)}"


def _when(job: JobRow) -> str:
    schedule = decode(job.spec).schedule
    next_one = f", next {schedule.local(job.due_at)}" if job.due_at else ", not due"
    return f"{schedule.text} {schedule.zone}{next_one}"

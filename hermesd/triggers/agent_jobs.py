"""Jobs as the agent's ``cron`` tool sees them: those of its own profile, delivered where it is being talked to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hermesd.errors import UsageError
from hermesd.rpc.wire_cron import JobFields
from hermesd.triggers.job import decode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.store.protocol import Store
    from hermesd.store.records import Address, JobRow, RunRow
    from hermesd.triggers.desk import JobDesk, Owner


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
        """Make a job. Raises HermesError for what could not run."""
        await self.ensure()
        fields = JobFields(
            schedule=schedule,
            prompt=prompt,
            name=name or None,
            deliver=deliver or ("origin" if self.origin else "local"),
            repeat=repeat or None,
        )
        job = await self.desk.create(self.owner(), fields, origin=self.origin)
        return f"made job {job.id} ({job.name}): {_when(job)}"

    async def listing(self) -> str:
        """A line for each job of the profile."""
        jobs = await self.store.jobs.listing(profile=self.owner().name)
        return "\n".join(f"{job.id} {job.name} ({job.state}): {_when(job)}" for job in jobs) or "there are no jobs"

    async def act(self, action: Literal["pause", "resume", "run", "remove"], reference: str) -> str:
        """Change one of the profile's jobs. Raises HermesError."""
        if not reference:
            raise UsageError(f"{action} needs a job", next_step="give its id or its name")
        job = await self.desk.find(reference, profile=self.owner().name)
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

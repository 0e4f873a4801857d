"""Making and changing jobs: what a person or the agent wrote becomes a job that can run, or is refused with the reason.

Everything that can be known to be wrong is refused here: a schedule that never comes due, a target without a chat, a
script or skill that is not there.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import ConflictError, UsageError
from hermesd.store.records import Address, JobRow
from hermesd.triggers import job as jobs
from hermesd.triggers import naming, schedule, turn_check
from hermesd.triggers.job import MAX_CATCH_UP, JobSpec
from hermesd.triggers.script import find_script
from hermesd.triggers.turn_spec import TurnSpec

if TYPE_CHECKING:
    from hermesd.rpc.wire_cron import JobFields
    from hermesd.store.protocol import Store
    from hermesd.store.records import JobState
    from hermesd.triggers.turn_check import Owner

MAX_JOBS = 10_000  # of one profile
_SLUG = re.compile(r"[^a-z0-9]+")


PLAIN = (
    *TurnSpec.__struct_fields__,
    "script",
    "no_agent",
    "misfire",
    "catch_up",
    "grace_s",
    "overlap",
    "jitter_s",
    "repeat",
)
"""Fields that stand in the job as they are given."""

BOUNDS = {
    **turn_check.BOUNDS,
    "catch_up": (1, MAX_CATCH_UP),
    "grace_s": (0, 366 * 86400),
    "jitter_s": (0, 86400),
    "repeat": (0, 1_000_000),
}


class JobDesk:
    """Jobs by what people say of them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def create(
        self, owner: Owner, fields: JobFields, *, origin: Address | None = None, paused: bool = False
    ) -> JobRow:
        """Make a job. Raises UsageError, ConfigError, NotFoundError, ConflictError."""
        existing = await self._store.jobs.listing(profile=owner.name)
        if len(existing) >= MAX_JOBS:
            raise ConflictError(f"there are {MAX_JOBS} jobs already", next_step="remove some: hermesctl cron list")
        now = time.time()
        spec = drafted(owner, fields, now=now, context_from=await self._context(owner, fields), origin=origin)
        name = naming.checked_name(fields.name) or _name(spec.prompt or spec.script, {job.name for job in existing})
        row = JobRow(id=secrets.token_hex(4), profile=owner.name, name=name, spec=jobs.encode(spec))
        return await self._store.jobs.put(moved(row, spec, now, state="paused" if paused else "active"))

    async def edit(self, owner: Owner, job: JobRow, fields: JobFields) -> JobRow:
        """Change what is given. Raises as ``create``."""
        now = time.time()
        spec = redrafted(owner, jobs.decode(job.spec), fields, now=now, context_from=await self._context(owner, fields))
        name = naming.checked_name(fields.name) or job.name
        row = msgspec.structs.replace(job, name=name, spec=jobs.encode(spec))
        state = "active" if job.state == "ended" else job.state
        return await self._store.jobs.put(moved(row, spec, now, state=state))

    async def switch(self, job: JobRow, *, paused: bool) -> JobRow:
        """Pause or resume. What came while it was paused is not made up for. Raises ConflictError (it has ended)."""
        now = time.time()
        spec = jobs.decode(job.spec)
        if not paused and spec.schedule.after(now) is None:
            raise ConflictError(
                f"job {job.name!r} has no instant left", next_step=f"hermesctl cron edit {job.id} --schedule …"
            )
        return await self._store.jobs.put(moved(job, spec, now, state="paused" if paused else "active"))

    async def find(self, reference: str, *, profile: str | None) -> JobRow:
        """By id, beginning of an id, or name. Raises NotFoundError, ConflictError (several)."""
        rows = await self._store.jobs.listing(profile=profile)
        return naming.find(rows, reference, noun="job", plural="jobs", listing="hermesctl cron list")

    async def _context(self, owner: Owner, fields: JobFields) -> str:
        """The id of the job that ``context_from`` names."""
        return (await self.find(fields.context_from, profile=owner.name)).id if fields.context_from else ""


def drafted(
    owner: Owner, fields: JobFields, *, now: float, context_from: str = "", origin: Address | None = None
) -> JobSpec:
    """What a new job would do. ``context_from``: the id of the job that is meant by that field.

    ``now`` (epoch seconds) is when it is made. Raises UsageError, ConfigError, NotFoundError.
    """
    if fields.schedule is None:
        raise UsageError("a job needs a schedule", next_step=schedule.EXAMPLES)
    parsed = schedule.parse(fields.schedule, zone_name=fields.timezone or owner.timezone, now=now)
    return _changed(owner, JobSpec(schedule=parsed, origin=origin), fields, now, context_from)


def redrafted(owner: Owner, spec: JobSpec, fields: JobFields, *, now: float, context_from: str = "") -> JobSpec:
    """The spec with what is given changed; otherwise as ``drafted``."""
    if fields.schedule is not None or fields.timezone is not None:
        zone = fields.timezone or spec.schedule.zone
        parsed = schedule.parse(fields.schedule or spec.schedule.text, zone_name=zone, now=now)
        spec = msgspec.structs.replace(spec, schedule=parsed)
    return _changed(owner, spec, fields, now, context_from)


def _changed(owner: Owner, spec: JobSpec, fields: JobFields, now: float, context_from: str) -> JobSpec:
    given = turn_check.given(fields, PLAIN, BOUNDS)
    if fields.expires is not None:
        given["expires_at"] = _instant(fields.expires, spec.schedule.zone, now)
    if fields.context_from is not None:
        given["context_from"] = context_from
    spec = msgspec.structs.replace(spec, **given)
    _check(owner, spec)
    return spec


def _check(owner: Owner, spec: JobSpec) -> None:
    """Refuse what could not run."""
    if not spec.prompt.strip() and not (spec.script and spec.no_agent) and not spec.skills:
        raise UsageError("a job needs a prompt", next_step="give one, or --script with --no-agent")
    if spec.no_agent and not spec.script:
        raise UsageError("--no-agent needs a script", next_step="give --script NAME")
    if spec.script:
        find_script(spec.script, owner.root / "scripts")
    turn_check.check_turn(owner, spec, origin=spec.origin)


def moved(job: JobRow, spec: JobSpec, now: float, *, state: JobState) -> JobRow:
    """The row in a state, with its next instant after ``now`` (epoch seconds)."""
    due_at = spec.schedule.after(now) if state == "active" else None
    if due_at is None:
        return msgspec.structs.replace(job, state=state, due_at=0.0, next_at=0.0)
    next_at = due_at + jobs.jitter(spec, job.id, due_at)
    return msgspec.structs.replace(job, state=state, due_at=due_at, next_at=next_at)


def _instant(text: str, zone: str, now: float) -> float:
    if not text:
        return 0.0
    found = schedule.parse(text, zone_name=zone, now=now)
    if found.kind != "once":
        raise UsageError(f"{text[:80]!r} is not an instant", next_step="write 30d or 2026-12-31T00:00")
    return found.at


def _name(text: str, taken: set[str]) -> str:
    """A name from the first words, unlike all others."""
    words = _SLUG.sub(" ", text.lower()).split()[:5]
    return naming.free_name("-".join(words)[:40] or "job", taken)

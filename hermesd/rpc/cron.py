"""Jobs as the wire shows them: from rows to what a person asks about."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import UsageError
from hermesd.rpc.wire_cron import (
    CronDelivery,
    CronJob,
    CronJobResult,
    CronListResult,
    CronNextResult,
    CronRun,
    CronRunsResult,
    JobFields,
)

if TYPE_CHECKING:
    from hermesd.rpc.context import Daemon
    from hermesd.store.records import JobRow, RunRow
    from hermesd.triggers.schedule import Schedule
    from hermesd.triggers.turn_check import Owner

MAX_NEXT = 100


def view(job: JobRow, *, last_run: CronRun | None = None, count: int = 5) -> CronJob:
    """A job with its next instants."""
    from hermesd.triggers.desk import PLAIN
    from hermesd.triggers.job import JobSpec, decode

    spec = decode(job.spec)
    schedule = spec.schedule
    usual = JobSpec(schedule=schedule)
    fields = {name: value for name in PLAIN if (value := getattr(spec, name)) or value != getattr(usual, name)}
    instants = _instants(schedule, job.due_at, count)
    return CronJob(
        id=job.id,
        profile=job.profile,
        name=job.name,
        state=job.state,
        schedule=schedule.text,
        timezone=schedule.zone,
        next=[schedule.local(each) for each in instants],
        fields=JobFields(
            **fields,
            expires=schedule.local(spec.expires_at) if spec.expires_at else None,
            context_from=spec.context_from or None,
        ),
        next_at=job.next_at,
        fired=job.fired,
        created_at=job.created_at,
        last_run=last_run.run if last_run else None,
        last_state=last_run.state if last_run else "",
    )


def changed(owner: Owner, job: JobRow, message: str) -> CronJobResult:
    """What is told of a job that was made or changed."""
    from hermesd.triggers.job import decode
    from hermesd.triggers.turn_check import warnings

    spec = decode(job.spec)
    return CronJobResult(job=view(job), message=message, warnings=warnings(owner, spec, origin=spec.origin))


def _instants(schedule: Schedule, due_at: float, count: int) -> list[float]:
    """The next ones, as far as they can be told: one that is set is known even where its zone is not any more."""
    if not due_at:
        return []
    try:
        return [due_at, *schedule.preview(due_at, count - 1)]
    except UsageError:
        return [due_at]


async def listing(daemon: Daemon, profile: str, *, everywhere: bool) -> CronListResult:
    """Jobs of a profile, or all."""
    name = None if everywhere else daemon.settings(profile).profile.name
    rows = await daemon.store.jobs.listing(profile=name)
    return CronListResult(jobs=[view(row, count=1) for row in rows])


async def one(daemon: Daemon, reference: str, profile: str) -> CronJobResult:
    """A job by id or name, with its last run. Raises NotFoundError, ConflictError."""
    job = await find(daemon, reference, profile)
    runs = await daemon.store.jobs.runs(job_id=job.id, limit=1)
    return CronJobResult(job=view(job, last_run=await run_view(daemon, runs[0], job.name) if runs else None))


async def find(daemon: Daemon, reference: str, profile: str) -> JobRow:
    """A job of the profile or, when none is named, of any."""
    name = daemon.settings(profile).profile.name if profile else None
    return await daemon.routines.desk.find(reference, profile=name)


def upcoming(daemon: Daemon, schedule: str, *, timezone: str, profile: str, count: int) -> CronNextResult:
    """What a schedule would mean. Raises UsageError."""
    from hermesd.triggers.schedule import parse

    if not 1 <= count <= MAX_NEXT:
        raise UsageError(f"{count} instants cannot be shown", next_step=f"give 1 to {MAX_NEXT}")
    now = time.time()
    found = parse(schedule, zone_name=timezone or daemon.routines.owner(profile).timezone, now=now)
    instants = found.preview(now, count)
    return CronNextResult(schedule=found.text, timezone=found.zone, next=[found.local(each) for each in instants])


async def runs(daemon: Daemon, reference: str, profile: str, limit: int) -> CronRunsResult:
    """Runs with what came of them, newest first."""
    job = await find(daemon, reference, profile) if reference else None
    name = None if job else daemon.settings(profile).profile.name
    rows = await daemon.store.jobs.runs(job_id=job.id if job else None, profile=name, limit=limit)
    names = {row.id: row.name for row in await daemon.store.jobs.listing()}
    return CronRunsResult(runs=[await run_view(daemon, row, names.get(row.job_id, "(removed)")) for row in rows])


async def run_view(daemon: Daemon, row: RunRow, name: str) -> CronRun:
    """A run with the turn and the deliveries that came of it."""
    key = f"run:{row.id}:0"
    run = CronRun(
        run=row,
        job_name=name,
        state=row.state,
        started_at=row.started_at,
        ended_at=row.ended_at,
        error=row.error,
    )
    if row.inbox_id:
        event = await daemon.store.inbox_row(row.inbox_id)
        run.state, run.error = event.state, event.error or row.error
        run.run = msgspec.structs.replace(row, error=run.error)
        if turn := await daemon.store.turn_of(row.inbox_id):
            run.session_id, run.model = turn.session_id, turn.model
            run.input_tokens, run.output_tokens = turn.input_tokens, turn.output_tokens
            run.ended_at, run.error = turn.ended_at, run.error or turn.error
            key = f"turn:{turn.id}:reply"
    for place in range(16):
        sent = await daemon.store.outbox_by_key(_key(key, place))
        if sent is None:
            break
        to = ":".join(filter(None, (sent.address.platform, sent.address.chat, sent.address.thread)))
        run.targets.append(CronDelivery(id=sent.id, to=to, state=sent.state, attempts=sent.attempts, error=sent.error))
        run.deliveries.append(f"{sent.address.platform}: {sent.state}{f' ({sent.error})' if sent.error else ''}")
    return run


def _key(first: str, place: int) -> str:
    if first.startswith("run:"):
        return first[:-1] + str(place)
    return f"{first}:{place}" if place else first

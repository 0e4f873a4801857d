"""``cron.*``: scheduled jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.config.managed import refuse_managed
from hermesd.rpc import cron as queries
from hermesd.rpc.routes import fast, slow
from hermesd.rpc.wire import Done
from hermesd.rpc.wire_cron import (
    CronCreateParams,
    CronEditParams,
    CronImportParams,
    CronJobParams,
    CronJobResult,
    CronListResult,
    CronNextParams,
    CronNextResult,
    CronRunsParams,
    CronRunsResult,
)
from hermesd.rpc.wire_turn_fields import ListParams

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller

MAX_RUNS = 1000


@slow("cron.list")
async def list_jobs(caller: Caller, params: ListParams) -> CronListResult:
    """In the order they were made."""
    return await queries.listing(caller.daemon, params.profile, everywhere=params.all)


@slow("cron.show")
async def show(caller: Caller, params: CronJobParams) -> CronJobResult:
    """One job."""
    return await queries.one(caller.daemon, params.job, params.profile)


@fast("cron.next")
def upcoming(caller: Caller, params: CronNextParams) -> CronNextResult:
    """Instants of a schedule."""
    return queries.upcoming(
        caller.daemon, params.schedule, timezone=params.timezone, profile=params.profile, count=params.count
    )


@slow("cron.runs")
async def runs(caller: Caller, params: CronRunsParams) -> CronRunsResult:
    """Runs, newest first."""
    limit = max(1, min(params.limit, MAX_RUNS))
    return await queries.runs(caller.daemon, params.job, params.profile, limit)


@slow("cron.create")
async def create(caller: Caller, params: CronCreateParams) -> CronJobResult:
    """Make a job, and have the scheduler run."""
    routines = caller.daemon.routines
    await routines.ensure()
    owner = routines.owner(params.profile)
    job = await routines.desk.create(owner, params.fields, paused=params.paused)
    return queries.changed(owner, job, f"made job {job.id} ({job.name})")


@slow("cron.edit")
async def edit(caller: Caller, params: CronEditParams) -> CronJobResult:
    """Change what is given."""
    routines = caller.daemon.routines
    job = await queries.find(caller.daemon, params.job, params.profile)
    refuse_managed(caller.daemon.home, "job", job.name, job.profile, "edit")
    owner = routines.owner(job.profile)
    job = await routines.desk.edit(owner, job, params.fields)
    return queries.changed(owner, job, f"changed job {job.id} ({job.name})")


@slow("cron.pause")
async def pause(caller: Caller, params: CronJobParams) -> Done:
    """Until it is resumed."""
    job = await queries.find(caller.daemon, params.job, params.profile)
    await caller.daemon.routines.desk.switch(job, paused=True)
    return Done(message=f"paused {job.name}")


@slow("cron.resume")
async def resume(caller: Caller, params: CronJobParams) -> Done:
    """From its next instant on."""
    routines = caller.daemon.routines
    await routines.ensure()
    job = await queries.find(caller.daemon, params.job, params.profile)
    job = await routines.desk.switch(job, paused=False)
    return Done(message=f"resumed {job.name}; next: {queries.view(job, count=1).next[0]}")


@slow("cron.run")
async def run_now(caller: Caller, params: CronJobParams) -> Done:
    """At once, besides its schedule."""
    job = await queries.find(caller.daemon, params.job, params.profile)
    run = await caller.daemon.routines.run_now(job)
    return Done(message=f"started {job.name}: run {run.id}; see `hermesctl cron runs {job.id}`")


@slow("cron.remove")
async def remove(caller: Caller, params: CronJobParams) -> Done:
    """Its runs stay."""
    job = await queries.find(caller.daemon, params.job, params.profile)
    refuse_managed(caller.daemon.home, "job", job.name, job.profile, "remove")
    await caller.daemon.store.jobs.delete(job.id)
    return Done(message=f"removed {job.name}")


@slow("cron.import")
async def import_jobs(caller: Caller, params: CronImportParams) -> CronListResult:
    """From hermes-agent's jobs.json."""
    from hermesd.triggers.jobs_file import read_jobs

    routines = caller.daemon.routines
    await routines.ensure()
    owner = routines.owner(params.profile)
    made, left_out = await read_jobs(params.text, routines.desk, owner)
    message = f"made {len(made)} jobs" + "".join(f"\nleft out: {each}" for each in left_out)
    return CronListResult(jobs=[queries.view(job, count=1) for job in made], message=message)


@slow("cron.export")
async def export(caller: Caller, params: ListParams) -> Done:
    """As text in the form of jobs.json."""
    from hermesd.triggers.jobs_file import write_jobs

    name = None if params.all else caller.daemon.settings(params.profile).profile.name
    return Done(message=write_jobs(await caller.daemon.store.jobs.listing(profile=name)))

"""``cron list|show|runs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.entries import entry_lines, field_entries
from hermesd.rpc.render.page import state
from hermesd.rpc.render.runs import run_rows
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire_cron import CronJob, CronJobResult, CronListResult, CronRunsResult

HEADER = ("ID", "NAME", "STATE", "SCHEDULE", "NEXT", "RUNS", "DELIVER")
RUNS = ("RUN", "JOB", "DUE", "STATE", "TOOK", "TOKENS", "DELIVERED", "SESSION", "ERROR")


def render_list(page: Page, result: CronListResult) -> str:
    """A line for each job."""
    if not result.jobs:
        return "no jobs; make one with `hermesctl cron create SCHEDULE PROMPT`\n"
    rows = [
        (
            job.id,
            one_line(job.name),
            state(job.state),
            job.schedule,
            job.next[0] if job.next else "–",
            str(job.fired),
            one_line(job.fields.deliver or "local"),
        )
        for job in result.jobs
    ]
    return "\n".join(table(page, HEADER, rows)) + "\n"


def render_one(page: Page, result: CronJobResult) -> str:
    """Everything about one, and its next instants."""
    job = result.job
    entries = [
        ("job", f"{job.id} {one_line(job.name)} (profile {job.profile})"),
        ("state", page.state(job.state)),
        ("schedule", f"{job.schedule}  {job.timezone}"),
        *field_entries(job.fields),
        ("runs", str(job.fired)),
        ("last run", _last(page, job)),
        *(("next" if number == 0 else "", instant) for number, instant in enumerate(job.next)),
    ]
    return entry_lines(page, entries)


def _last(page: Page, job: CronJob) -> str:
    run = job.last_run
    return (
        f"{job.last_state}, {ago(page.now, run.fired_at)}{f': {one_line(run.error)}' if run.error else ''}"
        if run
        else ""
    )


def render_runs(page: Page, result: CronRunsResult) -> str:
    """A line for each run."""
    return run_rows(page, result.runs, header=RUNS)

"""``cron list|show|runs``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.render.page import state
from hermesd.rpc.render.table import table
from hermesd.rpc.render.terminal import one_line
from hermesd.rpc.render.units import ago

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.rpc.render.page import Page
    from hermesd.rpc.wire_cron import CronJob, CronJobResult, CronListResult, CronRun, CronRunsResult, JobFields
    from hermesd.rpc.wire_watch import WatchFields

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
    width = max(len(label) for label, _ in entries) + 2
    return "".join(f"{page.paint(f'{label:<{width}}', 'dim')}{value}\n" for label, value in entries if value)


def field_entries(fields: JobFields | WatchFields) -> list[tuple[str, str]]:
    """What was said of a job or a watch."""
    found = []
    for name in fields.__struct_fields__:
        value = getattr(fields, name)
        if value is not None and value is not False and value not in ("", []):
            found.append((name.removesuffix("_s").replace("_", " "), one_line(_shown(name, value))))
    return found


def _shown(name: str, value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}{' s' if name.endswith('_s') else ''}"
    return str(value)


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


def run_rows(page: Page, runs: list[CronRun], *, header: Sequence[str]) -> str:
    """A line for each run of jobs, or of a watch."""
    if not runs:
        return "no runs yet\n"
    rows = [
        (
            str(each.run.id),
            one_line(each.job_name),
            ago(page.now, each.run.due_at),
            state(each.state),
            f"{each.ended_at - each.started_at:.1f} s" if each.ended_at and each.started_at else "–",
            f"{each.input_tokens}+{each.output_tokens}" if each.input_tokens or each.output_tokens else "–",
            one_line(", ".join(each.deliveries)) or "–",
            each.session_id or "–",
            one_line(each.error) or "–",
        )
        for each in runs
    ]
    return "\n".join(table(page, header, rows)) + "\n"

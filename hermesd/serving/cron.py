"""The tools for scheduled jobs: what there is, when it is due, and what came of it. None makes, changes or runs one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from hermesd.serving.registry import Tool, typed
from hermesd.serving.shaping import NOTE, fitting, pick, text
from hermesd.serving.tools import Limit, OneProfile, Profile

if TYPE_CHECKING:
    from hermesd.serving.backend import Call, Json
    from hermesd.serving.registry import Registry

_FIELDS = ("prompt", "script", "deliver", "model", "provider", "skills", "toolsets", "repeat", "expires")


class Show(Struct, forbid_unknown_fields=True):
    """One job."""

    job: Annotated[str, Meta(description="Its id, the beginning of it, or its name.", min_length=1, max_length=200)]
    profile: Profile = ""


class Runs(Struct, forbid_unknown_fields=True):
    """What came of jobs."""

    job: Annotated[
        str,
        Meta(description="Of this job: id, beginning of it, or name. Left out: of all of the profile.", max_length=200),
    ] = ""
    profile: Profile = ""
    limit: Limit = 20


async def cron_list(call: Call, wanted: OneProfile) -> Json:
    """Jobs of a profile or of all, in the order they were made."""
    profile = wanted.profile or call.profile
    found = await call.backend.call("cron.list", {"profile": profile, "all": not profile})
    return {**fitting("jobs", [_job(row) for row in found["jobs"]]), "note": NOTE}


async def cron_show(call: Call, wanted: Show) -> Json:
    """One job with its next instants and its last run."""
    params = {"job": wanted.job, "profile": wanted.profile or call.profile}
    row = (await call.backend.call("cron.show", params))["job"]
    last = row.get("last_run")
    shown = pick(last, "id", "due_at", "fired_at", "ended_at", "error") if last else {}
    return {"job": _job(row), **({"last_run": {**shown, "state": row["last_state"]}} if last else {}), "note": NOTE}


async def cron_runs(call: Call, wanted: Runs) -> Json:
    """Runs, newest first. What a turn said is in its conversation."""
    params = {"job": wanted.job, "profile": wanted.profile or call.profile, "limit": wanted.limit}
    found = await call.backend.call("cron.runs", params)
    return {**fitting("runs", [_run(row) for row in found["runs"]]), "note": NOTE}


def _job(row: Json) -> Json:
    fields = {name: text(value) if isinstance(value, str) else value for name, value in row["fields"].items()}
    shown = pick(row, "id", "profile", "name", "state", "schedule", "timezone", "next", "fired", "created_at")
    return {**shown, **pick(fields, *_FIELDS)}


def _run(row: Json) -> Json:
    shown = pick(row["run"], "id", "job_id", "profile", "due_at", "fired_at", "output")
    shown |= pick(row, "job_name", "state", "session_id", "started_at", "ended_at", "error")
    targets = [pick(target, "to", "state", "error") for target in row.get("targets", [])]
    return {**shown, **({"targets": targets} if targets else {})}


def register(registry: Registry) -> None:
    """Offer all of the above."""
    for name, title, description, (schema, handler) in READING:
        registry.add_tool(Tool(name, title, description, schema, handler))


READING = (
    (
        "cron_list",
        "Scheduled jobs",
        "List scheduled jobs with their schedules and when each is due next.",
        typed(OneProfile, cron_list),
    ),
    (
        "cron_show",
        "A scheduled job",
        "Show one scheduled job: what it does, its next instants, how it went last.",
        typed(Show, cron_show),
    ),
    (
        "cron_runs",
        "Runs of jobs",
        "Show what came of scheduled jobs, newest first; sessions_read has what a run's agent said.",
        typed(Runs, cron_runs),
    ),
)
"""As in ``serving.tools``."""

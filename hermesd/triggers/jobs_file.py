"""cron/jobs.json: the form in which jobs are brought in and taken out; hermes-agent's own file is read as it is.

``{"jobs": [{id, name, prompt, skills, model, provider, script, no_agent, schedule: {kind: once | interval | cron,
run_at | minutes | expr, display}, repeat: {times, completed}, enabled, state, deliver, origin, workdir}]}``

What that program has no field for stands below ``hermesd``, by the names of ``JobFields``.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.errors import HermesError, UsageError
from hermesd.rpc.wire_cron import JobFields
from hermesd.store.records import Address
from hermesd.triggers.job import JobSpec, decode
from hermesd.triggers.naming import MAX_NAME, NOT_IN_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hermesd.store.records import JobRow
    from hermesd.triggers.desk import JobDesk
    from hermesd.triggers.turn_check import Owner

MAX_JOBS = 1000
OURS = (
    "toolsets",
    "timeout_s",
    "max_turns",
    "budget",
    "misfire",
    "catch_up",
    "grace_s",
    "overlap",
    "jitter_s",
)
"""Fields below ``hermesd`` that stand there as they stand in the job; with timezone, expires and context_from."""
KNOWN = re.compile(
    "id|name|prompt|skills?|model|provider|script|no_agent|schedule|schedule_display|repeat|enabled|state|deliver|origin"
    "|workdir|created_at|context_from|hermesd"
)
PASSING = re.compile(r"(last|next|paused|updated)_\w+")
"""What became of a job so far, which is no part of what it is to do."""

Entry = dict[str, Any]  # JSON of another program: every field is looked at before it is used


async def read_jobs(text: str, desk: JobDesk, owner: Owner) -> tuple[list[JobRow], list[str]]:
    """Make the jobs of a file; returns them, and a sentence for each that was left out. Raises UsageError."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise UsageError(f"that is no JSON: {error}", next_step="give a jobs.json") from None
    entries = found.get("jobs") if isinstance(found, dict) else found
    if not isinstance(entries, list) or len(entries) > MAX_JOBS:
        raise UsageError("that is no list of jobs", next_step='give {"jobs": [ … ]}, 1,000 at most')
    made: dict[str, JobRow] = {}
    left_out: list[str] = []
    contexts: list[tuple[JobRow, list[str]]] = []
    for number, entry in enumerate(entries):
        name = str(entry.get("name") or entry.get("id") or "?")[:80] if isinstance(entry, dict) else "?"
        try:
            fields, origin, paused = _fields(entry)
            job = await desk.create(owner, fields, origin=origin, paused=paused)
        except HermesError as error:
            left_out.append(f"{name}: {error.what}")
            continue
        made[str(entry.get("id") or number)] = job
        contexts.append((job, _context(entry)))
        if unknown := [
            key for key, value in entry.items() if value and not KNOWN.fullmatch(key) and not PASSING.fullmatch(key)
        ]:
            left_out.append(f"of {name}: {', '.join(unknown)[:200]}")
    for job, others in contexts:
        left_out += await _begin_with(job, others, made, desk, owner)
    return list(made.values()), [NOT_IN_NAMES.sub(" ", each) for each in left_out]


def _context(entry: Entry) -> list[str]:
    """The jobs whose last words it begins with: by their names, or by their ids in the file."""
    ours = entry.get("hermesd")
    found = (ours.get("context_from") if isinstance(ours, dict) else None) or entry.get("context_from") or []
    return [str(each) for each in (found if isinstance(found, list) else [found])]


async def _begin_with(
    job: JobRow, others: list[str], made: Mapping[str, JobRow], desk: JobDesk, owner: Owner
) -> list[str]:
    """Set ``context_from``, now that all jobs are there; a sentence for each that it cannot be set to."""
    left_out = [f"of {job.name}: context_from {each[:80]}: one job is enough" for each in others[1:]]
    for each in others[:1]:
        reference = made[each].id if each in made else each
        try:
            await desk.edit(owner, job, JobFields(context_from=reference))
        except HermesError as error:
            left_out.append(f"of {job.name}: context_from: {error.what}")
    return left_out


def _fields(entry: Entry) -> tuple[JobFields, Address | None, bool]:
    """One entry in our words. Raises UsageError."""
    if not isinstance(entry, dict):
        raise UsageError("it is no object")
    repeat = entry.get("repeat") or {}
    times = repeat.get("times") if isinstance(repeat, dict) else repeat
    completed = repeat.get("completed") if isinstance(repeat, dict) else 0
    skills = entry.get("skills") or ([entry["skill"]] if entry.get("skill") else None)
    plain: Entry = {
        "schedule": _schedule(entry.get("schedule")),
        "name": NOT_IN_NAMES.sub(" ", name)[:MAX_NAME] if isinstance(name := entry.get("name"), str) else name,
        "prompt": entry.get("prompt"),
        "skills": skills,
        "script": entry.get("script"),
        "no_agent": entry.get("no_agent"),
        "deliver": entry.get("deliver"),
        "model": entry.get("model"),
        "provider": entry.get("provider"),
        "workdir": entry.get("workdir"),
        "repeat": max(1, int(times) - int(completed or 0)) if isinstance(times, int) and times > 0 else None,
    }
    ours = entry.get("hermesd")
    plain |= {key: value for key, value in (ours if isinstance(ours, dict) else {}).items() if key != "context_from"}
    try:
        fields = msgspec.convert({key: value for key, value in plain.items() if value is not None}, JobFields)
    except msgspec.ValidationError as error:
        raise UsageError(str(error)) from None
    paused = entry.get("enabled") is False or entry.get("state") == "paused"
    return fields, _origin(entry.get("origin")), paused


def _schedule(found: object) -> str:
    match found:
        case str():
            return found
        case {"kind": "cron", "expr": str(expression)}:
            return expression
        case {"kind": "interval", "minutes": int(minutes)}:
            return f"every {minutes}m"
        case {"kind": "interval", "seconds": int(seconds)}:
            return f"every {seconds}s"
        case {"kind": "once", "run_at": str(instant)}:
            return instant
    raise UsageError("its schedule is not understood")


def _origin(found: object) -> Address | None:
    if not isinstance(found, dict) or not found.get("platform") or not found.get("chat_id"):
        return None
    return Address(
        platform=str(found["platform"]), chat=str(found["chat_id"]), thread=str(found.get("thread_id") or "")
    )


def write_jobs(rows: Sequence[JobRow]) -> str:
    """The rows as a jobs.json."""
    names = {row.id: row.name for row in rows}
    return msgspec.json.format(msgspec.json.encode({"jobs": [_entry(row, names) for row in rows]}), indent=2).decode()


def _ours(spec: JobSpec, names: Mapping[str, str]) -> Entry:
    """What is not the default of what only we have."""
    usual = JobSpec(schedule=spec.schedule)
    found: Entry = {name: value for name in OURS if (value := getattr(spec, name)) != getattr(usual, name)}
    if spec.expires_at:
        found["expires"] = spec.schedule.local(spec.expires_at)
    if spec.context_from in names:
        found["context_from"] = names[spec.context_from]
    return {"timezone": spec.schedule.zone, **found}


def _entry(row: JobRow, names: Mapping[str, str]) -> Entry:
    spec = decode(row.spec)
    schedule: Entry = {"kind": spec.schedule.kind, "display": spec.schedule.text}
    match spec.schedule.kind:
        case "cron":
            schedule["expr"] = spec.schedule.text
        case "interval" if spec.schedule.seconds % 60 == 0:
            schedule["minutes"] = spec.schedule.seconds // 60
        case "interval":
            schedule["seconds"] = spec.schedule.seconds
        case "once":
            schedule["run_at"] = spec.schedule.text
    entry: Entry = {
        "id": row.id,
        "name": row.name,
        "prompt": spec.prompt,
        "skills": spec.skills,
        "model": spec.model or None,
        "provider": spec.provider or None,
        "script": spec.script or None,
        "no_agent": spec.no_agent,
        "schedule": schedule,
        "repeat": {"times": spec.repeat or None, "completed": row.fired},
        "enabled": row.state != "paused",
        "state": "scheduled" if row.state == "active" else row.state,
        "deliver": spec.deliver,
        "workdir": spec.workdir or None,
        "hermesd": _ours(spec, names),
        "created_at": datetime.fromtimestamp(row.created_at).astimezone().isoformat(timespec="seconds"),
    }
    if spec.origin:
        entry["origin"] = {
            "platform": spec.origin.platform,
            "chat_id": spec.origin.chat,
            "thread_id": spec.origin.thread,
        }
    return entry

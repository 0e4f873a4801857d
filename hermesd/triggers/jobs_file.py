"""cron/jobs.json: the form in which jobs are brought in and taken out; hermes-agent's own file is read as it is.

``{"jobs": [{id, name, prompt, skills, model, provider, script, no_agent, schedule: {kind: once | interval | cron,
run_at | minutes | expr, display}, repeat: {times, completed}, enabled, state, deliver, origin, workdir}]}``
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.errors import HermesError, UsageError
from hermesd.rpc.wire_cron import JobFields
from hermesd.store.records import Address
from hermesd.triggers.job import decode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import JobRow
    from hermesd.triggers.desk import JobDesk, Owner

MAX_JOBS = 1000

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
    made: list[JobRow] = []
    left_out: list[str] = []
    for entry in entries:
        name = str(entry.get("name") or entry.get("id") or "?")[:80] if isinstance(entry, dict) else "?"
        try:
            fields, origin, paused = _fields(entry)
            made.append(await desk.create(owner, fields, origin=origin, paused=paused))
        except HermesError as error:
            left_out.append(f"{name}: {error.what}")
    return made, left_out


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
        "name": entry.get("name"),
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
    return msgspec.json.format(msgspec.json.encode({"jobs": [_entry(row) for row in rows]}), indent=2).decode()


def _entry(row: JobRow) -> Entry:
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
        "created_at": datetime.fromtimestamp(row.created_at).astimezone().isoformat(timespec="seconds"),
    }
    if spec.origin:
        entry["origin"] = {
            "platform": spec.origin.platform,
            "chat_id": spec.origin.chat,
            "thread_id": spec.origin.thread,
        }
    return entry

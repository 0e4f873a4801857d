"""From a job and its occurrence to the event that begins the turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.store.records import NewEvent
from hermesd.triggers.deliver import parse_deliver
from hermesd.triggers.turn_spec import overrides
from hermesd.turns.outgoing import with_places
from hermesd.turns.prompt import INSTRUCTIONS, mark_untrusted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import Address, JobRow
    from hermesd.triggers.job import JobSpec

HOW = (
    "You are doing the scheduled job {name!r}, due {due}. Nobody is there to answer questions. Your last message is "
    "delivered as it is; if there is nothing to report, answer with exactly [SILENT] and nothing is sent."
)


def places(job: JobRow, spec: JobSpec, homes: Mapping[str, str]) -> list[Address]:
    """Where the answer goes now. Raises ConfigError."""
    return parse_deliver(spec.deliver, homes=homes, origin=spec.origin, where=f"job {job.name}")


def event_of(
    job: JobRow,
    spec: JobSpec,
    instant: float,
    *,
    to: list[Address],
    before: str = "",
    context: str = "",
    skills: str = "",
) -> NewEvent:
    """The event of one occurrence. It has a session of its own, unless runs wait for each other."""
    address, meta = with_places(to)
    key = f"agent:{job.profile}:cron:dm:{job.id}"
    parts = [
        skills,
        f"The last words of another job:\n{mark_untrusted(before)}" if before else "",
        f"The output of its script:\n{mark_untrusted(context)}" if context else "",
        spec.prompt,
    ]
    return NewEvent(
        profile=job.profile,
        source=f"cron:{job.id}",
        delivery_id=f"{instant:.3f}",
        session_key=key if spec.overlap == "queue" else f"{key}:{instant:.3f}",
        text="\n\n".join(part for part in parts if part),
        address=address,
        sender=f"cron:{job.name}",
        meta=meta
        | {"may_be_silent": "1", "job": job.id}
        | {INSTRUCTIONS: HOW.format(name=job.name, due=spec.schedule.local(instant))}
        | overrides(spec),
    )

"""From a job and its occurrence to the event that begins the turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import NotFoundError
from hermesd.home import read_bounded
from hermesd.store.records import NewEvent
from hermesd.tools.schema import nearest
from hermesd.triggers.deliver import parse_deliver
from hermesd.triggers.turn_spec import overrides
from hermesd.turns.outgoing import with_places
from hermesd.turns.prompt import INSTRUCTIONS, mark_untrusted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hermesd.store.records import Address, JobRow
    from hermesd.triggers.job import JobSpec

MAX_SKILL_BYTES = 64 * 1024

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


def read_skills(names: list[str], directory: Path) -> str:
    """The texts of skills (``skills/<category>/<name>/SKILL.md`` or ``skills/<name>/SKILL.md``).

    Raises NotFoundError naming one that is not there.
    """
    return "\n\n".join(f"Skill {name!r}:\n{_skill(name, directory)}" for name in names)


def _skill(name: str, directory: Path) -> str:
    if name and "/" not in name and name not in (".", ".."):
        for path in (directory / name / "SKILL.md", *sorted(directory.glob(f"*/{_literal(name)}/SKILL.md"))):
            if path.is_file():
                return read_bounded(path, max_bytes=MAX_SKILL_BYTES, follow=True).decode("utf-8", "replace").strip()
    meant = nearest(
        name, {path.parent.name for path in (*directory.glob("*/SKILL.md"), *directory.glob("*/*/SKILL.md"))}
    )
    step = f"did you mean {meant!r}?" if meant else f"put it into {directory}/<category>/{name[:80]}"
    raise NotFoundError(f"there is no skill {name[:80]!r}", next_step=step)


def _literal(name: str) -> str:
    """A name in which glob's wildcards mean themselves."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)

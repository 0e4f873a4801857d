"""What a job is, and what is due of it at a given moment."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from hermesd.rpc.wire_cron import Misfire, Overlap
from hermesd.store.records import Address
from hermesd.triggers.schedule import Schedule
from hermesd.triggers.turn_spec import TurnSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_CATCH_UP = 100
_WINDOWS_S = (3600.0, 86400.0, 31 * 86400.0)


class JobSpec(TurnSpec, frozen=True, kw_only=True, omit_defaults=True):
    """What a job does, as its owner set it. Durations in seconds, instants in epoch seconds; 0 or '' means unset.

    ``misfire``: what becomes of occurrences that were missed by more than ``grace_s``: none is made up for, the last
    one is, or the last ``catch_up`` ones are. ``overlap``: while an earlier run is under way the next one is left out,
    waits, or runs beside it. ``repeat`` bounds how often it runs, ``budget`` the tokens of a run. ``jitter_s`` spreads
    the start, by a time that is always the same for an occurrence. ``context_from`` is the id of a job whose last words
    the prompt begins with.
    """

    schedule: Schedule
    script: str = ""
    no_agent: bool = False
    origin: Address | None = None
    misfire: Misfire = "run_once"
    catch_up: int = 1
    grace_s: float = 60.0
    overlap: Overlap = "forbid"
    jitter_s: float = 0.0
    repeat: int = 0
    expires_at: float = 0.0
    context_from: str = ""


def encode(spec: JobSpec) -> str:
    """As JSON text."""
    return msgspec.json.encode(spec).decode()


def decode(text: str) -> JobSpec:
    """The inverse; raises msgspec.ValidationError."""
    return msgspec.json.decode(text, type=JobSpec)


@dataclass(frozen=True, slots=True)
class Due:
    """``run`` and ``skipped`` are instants that have come, oldest first; of many missed ones only the last is named.

    ``due_at`` is the next one and ``next_at`` when it is taken up, 0 when there is none.
    """

    run: tuple[float, ...]
    skipped: tuple[float, ...]
    due_at: float
    next_at: float


def due(spec: JobSpec, job_id: str, *, due_at: float, fired: int, now: float) -> Due:
    """What is to be done about a job whose next occurrence is ``due_at`` and has come.

    However long the daemon was away and however the clock was set, at most ``catch_up`` missed occurrences run.
    """
    came = _came(spec.schedule, due_at, now, keep=max(1, spec.catch_up))
    fresh = [each for each in came if now - each <= spec.grace_s + spec.jitter_s]
    missed = [each for each in came if each not in fresh]
    run, skipped = _after_misfire(spec, missed, fresh)
    if spec.expires_at:
        run = [each for each in run if each <= spec.expires_at]
    if spec.repeat:
        run = run[: max(0, spec.repeat - fired)]
    following = spec.schedule.after(max(now, due_at))
    ended = following is None or (spec.repeat and fired + len(run) >= spec.repeat)
    if ended or following is None or (spec.expires_at and following > spec.expires_at):
        return Due(tuple(run), tuple(skipped), 0.0, 0.0)
    return Due(tuple(run), tuple(skipped), following, following + jitter(spec, job_id, following))


def _after_misfire(spec: JobSpec, missed: Sequence[float], fresh: Sequence[float]) -> tuple[list[float], list[float]]:
    if not missed:
        return list(fresh), []
    if spec.misfire == "run_all":
        return [*missed, *fresh], []
    if spec.misfire == "run_once" and not fresh:
        return [missed[-1]], []
    return list(fresh), [missed[-1]]


def _came(schedule: Schedule, first: float, now: float, *, keep: int) -> list[float]:
    """The last occurrences from ``first`` to now, without going through years of them."""
    for window in _WINDOWS_S:
        if now - first > window:
            found = _between(schedule, schedule.after(now - window), now, keep)
            if len(found) == keep:
                return found
    return _between(schedule, first, now, keep)


def _between(schedule: Schedule, first: float | None, now: float, keep: int) -> list[float]:
    found: deque[float] = deque(maxlen=keep)
    instant = first
    while instant is not None and instant <= now:
        found.append(instant)
        instant = schedule.after(instant)
    return list(found)


def jitter(spec: JobSpec, job_id: str, instant: float) -> float:
    """Between 0 and ``jitter_s``, always the same for this occurrence of this job."""
    if not spec.jitter_s:
        return 0.0
    digest = hashlib.blake2b(f"{job_id}:{instant}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * spec.jitter_s

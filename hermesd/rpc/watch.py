"""Watches as the wire shows them: from rows to what a person asks about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.cron import run_view
from hermesd.rpc.wire_cron import CronRunsResult
from hermesd.rpc.wire_watch import Watch, WatchFields, WatchListResult, WatchResult

if TYPE_CHECKING:
    from hermesd.rpc.context import Daemon
    from hermesd.store.records import QuestionRow, WatchRow
    from hermesd.triggers.turn_check import Owner


def view(watch: WatchRow, *, question: QuestionRow | None = None) -> Watch:
    """A watch with what it was made of."""
    from hermesd.triggers.watch import decode
    from hermesd.triggers.watch_desk import PLAIN

    spec = decode(watch.spec)
    fields = WatchFields(**{name: value for name in PLAIN if (value := getattr(spec, name))})
    if spec.kind != "unit":
        fields.bus = None
    if spec.schedule:
        fields.every, fields.timezone = spec.schedule.text, spec.schedule.zone
    return Watch(
        id=watch.id,
        profile=watch.profile,
        name=watch.name,
        state=watch.state,
        kind=spec.kind,
        what=spec.what,
        fields=fields,
        fired=watch.fired,
        last_at=watch.last_at,
        created_at=watch.created_at,
        error=watch.error,
        question=question.text if question else "",
    )


def made(owner: Owner, watch: WatchRow) -> WatchResult:
    """What is told of a watch that was made."""
    from hermesd.triggers.turn_check import warnings
    from hermesd.triggers.watch import decode

    found = warnings(owner, decode(watch.spec))
    return WatchResult(watch=view(watch), message=f"made watch {watch.id} ({watch.name})", warnings=found)


async def listing(daemon: Daemon, profile: str, *, everywhere: bool) -> WatchListResult:
    """Watches of a profile, or all."""
    name = None if everywhere else daemon.settings(profile).profile.name
    return WatchListResult(watches=[view(row) for row in await daemon.store.watches.listing(profile=name)])


async def one(daemon: Daemon, reference: str, profile: str) -> WatchResult:
    """A watch by id or name, with what it has asked. Raises NotFoundError, ConflictError."""
    watch = await find(daemon, reference, profile)
    return WatchResult(watch=view(watch, question=await question_of(daemon, watch)))


async def find(daemon: Daemon, reference: str, profile: str) -> WatchRow:
    """A watch of the profile or, when none is named, of any."""
    name = daemon.settings(profile).profile.name if profile else None
    return await daemon.watching.desk.find(reference, profile=name)


async def question_of(daemon: Daemon, watch: WatchRow) -> QuestionRow | None:
    """What the turn of its last event waits for, if anything."""
    turn = await daemon.store.turn_of(watch.open_inbox) if watch.open_inbox else None
    if turn is None:
        return None
    waiting = await daemon.store.open_questions(session_id=turn.session_id)
    return next((question for question in waiting if question.turn_id == turn.id), None)


async def runs(daemon: Daemon, reference: str, profile: str, limit: int) -> CronRunsResult:
    """What came of the events of a watch, or of all, newest first."""
    watch = await find(daemon, reference, profile) if reference else None
    name = None if watch else daemon.settings(profile).profile.name
    rows = await daemon.store.jobs.runs(job_id=watch.id if watch else None, profile=name, kind="watch", limit=limit)
    names = {row.id: row.name for row in await daemon.store.watches.listing()}
    return CronRunsResult(runs=[await run_view(daemon, row, names.get(row.job_id, "(removed)")) for row in rows])

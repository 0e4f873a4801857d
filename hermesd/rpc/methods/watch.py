"""``watch.*``: files, outputs and units whose changes begin a turn."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from hermesd.config.managed import refuse_managed
from hermesd.errors import ConflictError, UsageError
from hermesd.rpc import watch as queries
from hermesd.rpc.routes import slow
from hermesd.rpc.wire import Done
from hermesd.rpc.wire_cron import CronRunsResult
from hermesd.rpc.wire_turn_fields import ListParams
from hermesd.rpc.wire_watch import (
    WatchAddParams,
    WatchAnswerParams,
    WatchListResult,
    WatchParams,
    WatchResult,
    WatchRunsParams,
    WatchTestResult,
)

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller

MAX_RUNS = 1000


@slow("watch.list")
async def list_watches(caller: Caller, params: ListParams) -> WatchListResult:
    """In the order they were made."""
    return await queries.listing(caller.daemon, params.profile, everywhere=params.all)


@slow("watch.show")
async def show(caller: Caller, params: WatchParams) -> WatchResult:
    """One watch."""
    return await queries.one(caller.daemon, params.watch, params.profile)


@slow("watch.runs")
async def runs(caller: Caller, params: WatchRunsParams) -> CronRunsResult:
    """Runs, newest first."""
    return await queries.runs(caller.daemon, params.watch, params.profile, max(1, min(params.limit, MAX_RUNS)))


@slow("watch.add")
async def add(caller: Caller, params: WatchAddParams) -> WatchResult:
    """Make a watch, and have it work when this returns."""
    watch = await caller.daemon.watching.add(params.profile, params.fields, paused=params.paused)
    return queries.made(caller.daemon.routines.owner(watch.profile), watch)


@slow("watch.pause")
async def pause(caller: Caller, params: WatchParams) -> Done:
    """Until it is resumed."""
    watch = await queries.find(caller.daemon, params.watch, params.profile)
    await caller.daemon.watching.switch(watch, paused=True)
    return Done(message=f"paused {watch.name}")


@slow("watch.resume")
async def resume(caller: Caller, params: WatchParams) -> Done:
    """What changes from now on counts."""
    watch = await queries.find(caller.daemon, params.watch, params.profile)
    resumed = await caller.daemon.watching.switch(watch, paused=False)
    return Done(message=f"resumed {watch.name}{f', but: {resumed.error}' if resumed.error else ''}")


@slow("watch.remove")
async def remove(caller: Caller, params: WatchParams) -> Done:
    """Its runs stay; what it has asked is answered no."""
    watch = await queries.find(caller.daemon, params.watch, params.profile)
    refuse_managed(caller.daemon.home, "watch", watch.name, watch.profile, "remove")
    await caller.daemon.watching.remove(watch)
    if (question := await queries.question_of(caller.daemon, watch)) is not None:
        with contextlib.suppress(ConflictError):  # somebody has just answered it
            await caller.daemon.answer(question.id, "no")
    return Done(message=f"removed {watch.name}")


@slow("watch.test")
async def test(caller: Caller, params: WatchParams) -> WatchTestResult:
    """Look without beginning anything."""
    watch = await queries.find(caller.daemon, params.watch, params.profile)
    return await caller.daemon.watching.test(watch)


@slow("watch.answer")
async def answer(caller: Caller, params: WatchAnswerParams) -> Done:
    """Decide what a watch has asked."""
    if params.answer not in ("yes", "no", "always"):
        raise UsageError(f"{params.answer[:40]!r} is no answer", next_step="answer yes, no or always")
    watch = await queries.find(caller.daemon, params.watch, params.profile)
    question = await queries.question_of(caller.daemon, watch)
    if question is None:
        raise ConflictError(
            f"watch {watch.name!r} has not asked anything", next_step=f"hermesctl watch runs {watch.id}"
        )
    await caller.daemon.answer(question.id, params.answer)
    return Done(message=f"answered {params.answer}: {question.text.splitlines()[0]}")

"""``routines.*``: what files declare, compared and applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError
from hermesd.rpc.routes import slow
from hermesd.rpc.wire import Done
from hermesd.rpc.wire_routines import (
    RoutinesApplyParams,
    RoutinesApplyResult,
    RoutinesChange,
    RoutinesExportParams,
    RoutinesField,
    RoutinesPlanParams,
    RoutinesPlanResult,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.manifest.entry import Change
    from hermesd.manifest.plan import Plan
    from hermesd.rpc.calls import Caller
    from hermesd.rpc.wire_routines import RoutinesFile


@slow("routines.plan")
async def show_plan(caller: Caller, params: RoutinesPlanParams) -> RoutinesPlanResult:
    """Nothing is changed."""
    found = await _plan(caller, params.files, params.profile)
    return RoutinesPlanResult(
        name=found.name,
        revision=found.revision,
        pending=len(found.pending),
        conflicts=len(found.conflicts),
        changes=_shown(found),
        unmanaged=[str(key) for key in found.unmanaged],
    )


@slow("routines.export")
async def export(caller: Caller, params: RoutinesExportParams) -> Done:
    """As YAML."""
    from hermesd.manifest.export import export as text_of

    return Done(message=await text_of(caller.daemon, profile=params.profile))


@slow("routines.apply")
async def apply(caller: Caller, params: RoutinesApplyParams) -> RoutinesApplyResult:
    """One at a time; exactly what was shown."""
    from hermesd.manifest.apply import apply as make
    from hermesd.manifest.ledger import ONE_AT_A_TIME

    async with ONE_AT_A_TIME:
        found = await _plan(caller, params.files, params.profile)
        if found.revision != params.revision:
            raise ConflictError(
                "something has changed since the plan was shown; nothing was changed", next_step="look at it again"
            )
        refused = await make(caller.daemon, found, force_conflicts=params.force_conflicts)
    return RoutinesApplyResult(message=_told(found), changes=_shown(found), refused=refused)


async def _plan(caller: Caller, files: Sequence[RoutinesFile], profile: str) -> Plan:
    from hermesd.manifest.document import Source
    from hermesd.manifest.plan import plan

    return await plan(caller.daemon, [Source(file.name, file.text) for file in files], profile=profile)


def _shown(plan: Plan) -> list[RoutinesChange]:
    return [_change(plan, change) for change in plan.changes if change.step.action != "keep" or change.step.note]


def _change(plan: Plan, change: Change) -> RoutinesChange:
    from hermesd.manifest import secrets

    step = change.step
    assert step.action != "unmanaged"
    return RoutinesChange(
        action=step.action,
        kind=plan.kinds[change.key.section].noun,
        section=change.key.section,
        profile=change.key.profile,
        name=change.key.name,
        where=change.where,
        note=step.note,
        conflict=step.conflicts,
        fields=[
            RoutinesField(
                name=field.name,
                before=secrets.shown(field.name, field.before),
                after=secrets.shown(field.name, field.after),
                by_hand=field.by_hand,
                conflict=field.conflict,
            )
            for field in step.fields
        ],
    )


def _told(plan: Plan) -> str:
    if not plan.pending:
        return "nothing to do"
    done = {"create": "created", "update": "updated", "delete": "deleted"}
    actions = [change.step.action for change in plan.pending]
    return ", ".join(f"{actions.count(action)} {word}" for action, word in done.items() if action in actions)

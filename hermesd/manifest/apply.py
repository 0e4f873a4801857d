"""Making what a plan says, so that a crash in its midst leaves something that the same apply goes on from.

1. What is about to change is noted as pending, together with what had been applied before.
2. Profiles are made; each profile's config.yaml and .env are written once; they are taken up.
3. Jobs and the final notes are committed in one transaction.
4. Profiles that are not wanted any more are removed, and then forgotten.

Where only rows of the store change, 1 and 2 have nothing to do, and 3 is all there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd import failpoint
from hermesd.errors import ConflictError
from hermesd.manifest.entry import Batch
from hermesd.manifest.merge import intent, outcome

if TYPE_CHECKING:
    from hermesd.manifest.entry import Change, Key
    from hermesd.manifest.merge import Applied
    from hermesd.manifest.plan import Plan
    from hermesd.rpc.context import Daemon
    from hermesd.store.records import StoreChange


async def apply(daemon: Daemon, plan: Plan, *, force_conflicts: bool = False) -> list[str]:
    """Make it so; returns what a reload has refused. A plan with nothing to do writes nothing.

    Raises ConflictError (somebody's own change would be undone, or something has changed meanwhile), ConfigError,
    StoreError.
    """
    if plan.conflicts and not force_conflicts:
        raise _refusal(plan.conflicts)
    batch = Batch()
    for change in plan.pending:
        plan.kinds[change.key.section].enact(change, batch)
    after = _entries(plan, outcome)
    if batch.new_profiles or batch.descriptions or batch.edits or batch.gone_profiles:
        await daemon.store.commit([plan.ledger.change(plan.name, _entries(plan, intent))])
        failpoint.hit("apply.noted")
    if batch.has_jobs:
        await daemon.routines.ensure()
    rows: list[StoreChange] = [*batch.rows]
    if rows or after != plan.applied or _is_noted(batch):
        rows.append(plan.ledger.change(plan.name, after))
        await daemon.store.commit(rows)
        failpoint.hit("apply.committed")
    return []


def _is_noted(batch: Batch) -> bool:
    return bool(batch.new_profiles or batch.descriptions or batch.edits or batch.gone_profiles)


def _entries(plan: Plan, state_of: object) -> dict[Key, Applied]:
    assert callable(state_of)
    found = {change.key: state_of(plan.applied.get(change.key), change.step, change.fields) for change in plan.changes}
    return {key: applied for key, applied in found.items() if applied is not None}


def _refusal(conflicts: list[Change]) -> ConflictError:
    names = ", ".join(str(change.key) for change in conflicts[:5])
    more = f" and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""
    return ConflictError(
        f"changed by hand and in the file: {names}{more}",
        next_step="put it right in the file, or take the file's with --force-conflicts; nothing was changed",
    )

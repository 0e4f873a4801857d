"""Making what a plan says, so that a crash in its midst leaves something that the same apply goes on from.

1. What is about to change is noted as pending, together with what had been applied before.
2. Profiles are made; each profile's config.yaml and .env are written once; they are taken up.
3. Rows of the store and what is remembered of them are committed in one transaction.
4. Profiles that are not wanted any more are removed, and then forgotten.

Where only rows of the store change, 3 is all there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd import failpoint
from hermesd.config.write import change
from hermesd.config.writing import WRITING_THREADS
from hermesd.errors import ConflictError
from hermesd.manifest.document import PROFILES
from hermesd.manifest.merge import intent, outcome
from hermesd.manifest.profiles import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.manifest.entry import Change, Key
    from hermesd.manifest.merge import Applied, Fields, Step
    from hermesd.manifest.plan import Plan
    from hermesd.rpc.context import Daemon

    Remembered = Callable[[Applied | None, Step, Fields | None], Applied | None]


async def apply(daemon: Daemon, plan: Plan, *, force_conflicts: bool = False) -> list[str]:
    """Make it so; returns what a reload has refused. A plan with nothing to do writes nothing.

    Raises ConflictError (somebody's own change would be undone, or something has changed meanwhile), ConfigError,
    StoreError. What has been done until then stays, and the next apply goes on from it.
    """
    if plan.conflicts and not force_conflicts:
        raise _refusal(plan.conflicts)
    batch = plan.batch
    refused: list[str] = []
    if batch.touches_files:
        await daemon.store.commit([plan.ledger.change(plan.name, _entries(plan, intent))])
        failpoint.hit("apply.noted")
        refused = await _write(daemon, plan)
    after = _entries(plan, outcome)
    gone = {
        key: row for key, row in plan.applied.items() if key.section == PROFILES and key.name in batch.gone_profiles
    }
    for begin in batch.before_rows.values():
        await begin()
    if batch.rows or batch.touches_files or after != plan.applied:
        await daemon.store.commit([*batch.rows, plan.ledger.change(plan.name, {**after, **gone})])
        failpoint.hit("apply.committed")
    for tell in batch.after_rows:
        await tell()
    for name in batch.gone_profiles:
        await daemon.delete_profile(name)
        failpoint.hit("apply.removed")
    if gone:
        await daemon.store.commit([plan.ledger.change(plan.name, after)])
    return refused


async def _write(daemon: Daemon, plan: Plan) -> list[str]:
    """Directories and files; returns what of them was not taken up."""
    batch = plan.batch
    for name in batch.new_profiles:
        await daemon.create_profile(name, **plan.new_profiles[name])
        failpoint.hit("apply.profiles")
    for name, text in batch.descriptions.items():
        await trio.to_thread.run_sync(describe, daemon.home.profile(name), text, limiter=WRITING_THREADS)
    for name, edits in batch.edits.items():
        profile = daemon.home.profile(name)
        await trio.to_thread.run_sync(
            change, profile, edits.expected, edits.config, edits.variables, limiter=WRITING_THREADS
        )
        failpoint.hit("apply.written")
    if not batch.edits:
        return []
    refused = (await daemon.reload()).refused
    failpoint.hit("apply.reloaded")
    return refused


def _entries(plan: Plan, remembered: Remembered) -> dict[Key, Applied]:
    found = {each.key: remembered(plan.applied.get(each.key), each.step, each.fields) for each in plan.changes}
    return {key: applied for key, applied in found.items() if applied is not None}


def _refusal(conflicts: list[Change]) -> ConflictError:
    names = ", ".join(str(each.key) for each in conflicts[:5])
    more = f" and {len(conflicts) - 5} more" if len(conflicts) > 5 else ""
    return ConflictError(
        f"changed by hand and in the file: {names}{more}",
        next_step="put it right in the file, or take the file's with --force-conflicts; nothing was changed",
    )

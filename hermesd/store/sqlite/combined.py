"""Changes of different kinds that are made together: all of them, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError
from hermesd.store.records import JobPut, JobRemoval, ValueChange
from hermesd.store.sqlite import jobs, maintenance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import StoreChange
    from hermesd.store.sqlite.transaction import Transaction


def commit(tx: Transaction, changes: Sequence[StoreChange]) -> None:
    """In order. Raises ConflictError for a job that is not as it was expected to be."""
    for change in changes:
        match change:
            case JobPut():
                _check(tx, change.job.id, change.job.name, change.expected)
                jobs.put(tx, change.job)
            case JobRemoval():
                if _spec(tx, change.id) is not None:
                    _check(tx, change.id, change.id, change.expected)
                    jobs.delete(tx, change.id)
            case ValueChange():
                maintenance.set_value(tx, change.name, change.value)


def _check(tx: Transaction, job_id: str, name: str, expected: str | None) -> None:
    if _spec(tx, job_id) != expected:
        raise ConflictError(f"job {name!r} was changed meanwhile", next_step="look at it, and try again")


def _spec(tx: Transaction, job_id: str) -> str | None:
    found: str | None = tx.value("SELECT spec FROM jobs WHERE id = ?", job_id)
    return found

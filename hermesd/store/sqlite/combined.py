"""Changes of different kinds that are made together: all of them, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hermesd.errors import ConflictError
from hermesd.store.records import JobPut, JobRemoval, ValueChange, WatchPut, WatchRemoval
from hermesd.store.sqlite import jobs, maintenance, watches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import StoreChange
    from hermesd.store.sqlite.transaction import Transaction

Table = Literal["jobs", "watches"]


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
            case WatchPut():
                _check(tx, change.watch.id, change.watch.name, change.expected, table="watches")
                watches.put(tx, change.watch)
            case WatchRemoval():
                if _spec(tx, change.id, "watches") is not None:
                    _check(tx, change.id, change.id, change.expected, table="watches")
                    watches.delete(tx, change.id)
            case ValueChange():
                maintenance.set_value(tx, change.name, change.value)


def _check(tx: Transaction, row_id: str, name: str, expected: str | None, *, table: Table = "jobs") -> None:
    if _spec(tx, row_id, table) != expected:
        raise ConflictError(f"{name!r} was changed meanwhile", next_step="look at it, and try again")


def _spec(tx: Transaction, row_id: str, table: Table = "jobs") -> str | None:
    found: str | None = tx.value(f"SELECT spec FROM {table} WHERE id = ?", row_id)  # noqa: S608 - one of two constants
    return found

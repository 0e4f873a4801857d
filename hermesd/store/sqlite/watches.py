"""Watches: a difference is taken up once, with what is seen from then on, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.sqlite import jobs
from hermesd.store.sqlite.rows import WATCH_COLUMNS, watch_row

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import NewEvent, RunRow, WatchRow
    from hermesd.store.sqlite.transaction import Transaction, View


def put(tx: Transaction, watch: WatchRow) -> WatchRow:
    """Insert a watch or replace the one with its id; raises ConflictError for a name that another has."""
    taken = "SELECT id FROM watches WHERE profile = ? AND name = ? AND id <> ?"
    if other := tx.value(taken, watch.profile, watch.name, watch.id):
        raise ConflictError(
            f"there is a watch {watch.name!r} already ({other})", next_step=f"name it otherwise, or remove {other}"
        )
    tx.run(
        f"INSERT INTO watches ({WATCH_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constant
        "ON CONFLICT (id) DO UPDATE SET name = excluded.name, spec = excluded.spec, state = excluded.state, "
        "primed = excluded.primed, error = excluded.error, updated_at = excluded.updated_at",
        watch.id,
        watch.profile,
        watch.name,
        watch.spec,
        watch.state,
        int(watch.primed),
        watch.fired,
        watch.last_at,
        watch.open_inbox,
        watch.error,
        tx.now,
        tx.now,
    )
    if not watch.primed:
        tx.run("DELETE FROM watch_seen WHERE watch_id = ?", watch.id)
    kept = get(tx, watch.id)
    _tell(tx, kept)
    return kept


def _tell(tx: Transaction, watch: WatchRow) -> None:
    data: dict[str, object] = {"id": watch.id, "name": watch.name, "state": watch.state}
    if watch.error:
        data["error"] = watch.error
    tx.event("watch.changed", watch.id, watch.profile, data)


def delete(tx: Transaction, watch_id: str) -> WatchRow:
    """Remove a watch; its runs stay. Raises NotFoundError."""
    watch = get(tx, watch_id)
    tx.run("DELETE FROM watches WHERE id = ?", watch_id)
    tx.run("DELETE FROM watch_seen WHERE watch_id = ?", watch_id)
    tx.event("watch.removed", watch_id, watch.profile, {"id": watch_id, "name": watch.name})
    return watch


def find(view: View, watch_id: str) -> WatchRow | None:
    """One watch, if there is one."""
    row = view.one(f"SELECT {WATCH_COLUMNS} FROM watches WHERE id = ?", watch_id)  # noqa: S608 - constant
    return watch_row(row) if row else None


def get(view: View, watch_id: str) -> WatchRow:
    """One watch; raises NotFoundError."""
    watch = find(view, watch_id)
    if watch is None:
        raise NotFoundError(f"no watch {watch_id[:80]!r}", next_step="see `hermesctl watch list`")
    return watch


def listing(view: View, profile: str | None) -> list[WatchRow]:
    """Every watch, of one profile or of all, in the order they were made."""
    where, values = ("WHERE profile = ?", (profile,)) if profile is not None else ("", ())
    rows = view.all(f"SELECT {WATCH_COLUMNS} FROM watches {where} ORDER BY created_at, id", *values)  # noqa: S608 - constants
    return [watch_row(row) for row in rows]


def has_any(view: View) -> bool:
    """Whether there is a watch."""
    return bool(view.value("SELECT EXISTS (SELECT 1 FROM watches)"))


def seen(view: View, watch_id: str) -> dict[str, str]:
    """Thing → what was last seen of it."""
    return dict(view.all("SELECT thing, value FROM watch_seen WHERE watch_id = ?", watch_id))


def take_as_seen(tx: Transaction, watch_id: str, changes: Mapping[str, str | None], *, settled: bool) -> None:
    """Record differences that begin nothing."""
    if find(tx, watch_id) is None:
        return
    _remember(tx, watch_id, changes)
    tx.run("UPDATE watches SET primed = 1, error = '' WHERE id = ?", watch_id)
    if settled:
        tx.run("UPDATE watches SET open_inbox = 0 WHERE id = ?", watch_id)


def fire(tx: Transaction, watch_id: str, changes: Mapping[str, str | None], event: NewEvent) -> RunRow | None:
    """Take up a difference, with its run and its event; None when that must not be now."""
    watch = find(tx, watch_id)
    if watch is None or watch.state != "active" or watch.open_inbox:
        return None
    at = max(tx.now, watch.last_at + 0.001)  # the clock may have been put back; a run is known by its instant
    tx.run(
        "INSERT INTO runs (job_id, profile, due_at, state, fired_at, kind) VALUES (?, ?, ?, 'queued', ?, 'watch')",
        watch_id,
        watch.profile,
        at,
        tx.now,
    )
    run = jobs.hand_over(tx, tx.last_id(), event)
    _remember(tx, watch_id, changes)
    tx.run(
        "UPDATE watches SET fired = fired + 1, last_at = ?, open_inbox = ?, error = '' WHERE id = ?",
        at,
        run.inbox_id,
        watch_id,
    )
    return run


def _remember(tx: Transaction, watch_id: str, changes: Mapping[str, str | None]) -> None:
    for thing, value in changes.items():
        if value is None:
            tx.run("DELETE FROM watch_seen WHERE watch_id = ? AND thing = ?", watch_id, thing)
        else:
            tx.run(
                "INSERT INTO watch_seen (watch_id, thing, value) VALUES (?, ?, ?) "
                "ON CONFLICT (watch_id, thing) DO UPDATE SET value = excluded.value",
                watch_id,
                thing,
                value,
            )


def act_always(tx: Transaction, watch_id: str) -> None:
    """Ask no more."""
    tx.run("UPDATE watches SET spec = json_set(spec, '$.mode', 'act'), updated_at = ? WHERE id = ?", tx.now, watch_id)
    if (watch := find(tx, watch_id)) is not None:
        _tell(tx, watch)


def note(tx: Transaction, watch_id: str, error: str) -> None:
    """Why it cannot be watched."""
    changed = tx.run("UPDATE watches SET error = ? WHERE id = ? AND error <> ?", error, watch_id, error)
    if changed:
        _tell(tx, get(tx, watch_id))

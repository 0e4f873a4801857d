"""What concerns every table: counts, pruning, a profile's removal and renaming."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError
from hermesd.store.records import Backlog, InboxCounts

if TYPE_CHECKING:
    from hermesd.store.sqlite.transaction import Transaction, View

PRUNE_ROWS = 500
_TABLES = (
    "inbox",
    "cursors",
    "turns",
    "outbox",
    "sessions",
    "session_keys",
    "questions",
    "events",
    "jobs",
    "runs",
    "watches",
    "webhook_counters",
)


def counts(view: View) -> InboxCounts:
    """Rows by state."""
    return InboxCounts(
        inbox=dict(view.all("SELECT state, count(*) FROM inbox GROUP BY state")),
        outbox=dict(view.all("SELECT state, count(*) FROM outbox GROUP BY state")),
        sessions=view.value("SELECT count(*) FROM sessions"),
        events=view.value("SELECT count(*) FROM events"),
    )


def backlog(view: View, profile: str | None) -> Backlog:
    """Of one profile, or (None) of all."""
    whose = "(?1 IS NULL OR profile = ?1)"
    messages = f"SELECT count(*) FROM inbox WHERE state IN ('pending', 'running') AND {whose}"  # noqa: S608 - a constant
    answers = f"SELECT count(*) FROM outbox WHERE state IN ('pending', 'attempting') AND platform <> 'rpc' AND {whose}"  # noqa: S608 - same
    return Backlog(messages=view.value(messages, profile), answers=view.value(answers, profile))


def delete_profile(tx: Transaction, profile: str) -> None:
    """Remove every row of a profile; its event log is removed with it, and one event says so."""
    tx.run("DELETE FROM small_values WHERE name IN (SELECT 'draft:' || id FROM turns WHERE profile = ?)", profile)
    tx.run(
        "DELETE FROM small_values WHERE name LIKE 'tool:%' AND substr(name, 6, instr(substr(name, 6), ':') - 1) "
        "IN (SELECT id FROM sessions WHERE profile = ?)",
        profile,
    )
    tx.run("DELETE FROM steps WHERE turn_id IN (SELECT id FROM turns WHERE profile = ?)", profile)
    tx.run("DELETE FROM messages WHERE session_id IN (SELECT id FROM sessions WHERE profile = ?)", profile)
    tx.run("DELETE FROM watch_seen WHERE watch_id IN (SELECT id FROM watches WHERE profile = ?)", profile)
    for table in _TABLES:
        tx.run(f"DELETE FROM {table} WHERE profile = ?", profile)  # noqa: S608 - constant
    tx.event("profile.deleted", profile, profile, {"name": profile})


def rename_profile(tx: Transaction, old: str, new: str) -> None:
    """Move every row; raises ConflictError when the new name has rows."""
    for table in _TABLES:
        if table != "events" and tx.one(f"SELECT 1 FROM {table} WHERE profile = ? LIMIT 1", new):  # noqa: S608 - constant
            raise ConflictError(f"the store has rows of a profile {new!r} already", next_step="choose another name")
    for table in _TABLES:
        tx.run(f"UPDATE {table} SET profile = ? WHERE profile = ?", new, old)  # noqa: S608 - constant
    for table, column in (("inbox", "session_key"), ("sessions", "key"), ("session_keys", "key")):
        _rename_keys(tx, table, column, old, new)
    tx.event("profile.renamed", new, new, {"old": old, "name": new})


def _rename_keys(tx: Transaction, table: str, column: str, old: str, new: str) -> None:
    """Conversations are found by keys that begin ``agent:PROFILE:``; without this each would begin anew."""
    begins = f"agent:{old}:"
    tx.run(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE profile = ? AND substr({column}, 1, ?) = ?",  # noqa: S608 - constant
        f"agent:{new}:",
        len(begins) + 1,
        new,
        len(begins),
        begins,
    )


def prune(tx: Transaction, older_than: float) -> int:
    """Remove up to ``PRUNE_ROWS`` rows of each kind that ended and are older; returns how many, 0 when all is done.

    Turns stay (their messages name them), their journals go with the event. Rows that wait for a person stay.
    """
    removed = _prune_inbox(tx, older_than)
    removed += tx.run(
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE state IN ('sent', 'dropped') "
        "AND created_at < ? LIMIT ?)",
        older_than,
        PRUNE_ROWS,
    )
    removed += tx.run(
        "DELETE FROM questions WHERE id IN (SELECT id FROM questions WHERE state <> 'open' AND asked_at < ? LIMIT ?)",
        older_than,
        PRUNE_ROWS,
    )
    # Ids grow with time: stop at the first young event, so that what is left is a suffix even if the clock jumped.
    first_kept = tx.value("SELECT id FROM events WHERE at >= ? ORDER BY id LIMIT 1", older_than)
    removed += tx.run(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE ?1 IS NULL OR id < ?1 ORDER BY id LIMIT ?2)",
        first_kept,
        PRUNE_ROWS,
    )
    return removed


def _prune_inbox(tx: Transaction, older_than: float) -> int:
    rows = tx.all(
        "SELECT id FROM inbox WHERE received_at < ? AND state IN ('done', 'failed', 'dropped') LIMIT ?",
        older_than,
        PRUNE_ROWS,
    )
    for (inbox_id,) in rows:
        tx.run("DELETE FROM steps WHERE turn_id IN (SELECT id FROM turns WHERE inbox_id = ?)", inbox_id)
        tx.run("DELETE FROM inbox WHERE id = ?", inbox_id)
    return len(rows)


def get_value(view: View, name: str) -> bytes | None:
    """A small named value."""
    found: bytes | None = view.value("SELECT value FROM small_values WHERE name = ?", name)
    return found


def set_value(tx: Transaction, name: str, value: bytes | None) -> None:
    """Set or remove it."""
    if value is None:
        tx.run("DELETE FROM small_values WHERE name = ?", name)
    else:
        tx.run(
            "INSERT INTO small_values (name, value) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            name,
            value,
        )

"""The inbox: accepted once, and what becomes of each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError, UsageError
from hermesd.store.records import Accepted
from hermesd.store.sqlite.rows import INBOX_COLUMNS, inbox_row
from hermesd.store.sqlite.transaction import filters, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import Cursor, InboxRow, InboxState, NewEvent
    from hermesd.store.sqlite.transaction import Transaction, View

CONFIRMED = "done, as the owner confirmed"


def accept(tx: Transaction, events: Sequence[NewEvent], cursor: Cursor | None) -> list[Accepted]:
    """Insert what is new, and the source's position with it."""
    accepted = [_accept_one(tx, event) for event in events]
    if cursor is not None:
        tx.run(
            "INSERT INTO cursors (profile, source, value) VALUES (?, ?, ?) "
            "ON CONFLICT (profile, source) DO UPDATE SET value = excluded.value",
            cursor.profile,
            cursor.source,
            cursor.value,
        )
    return accepted


def _accept_one(tx: Transaction, event: NewEvent) -> Accepted:
    added = tx.run(
        "INSERT INTO inbox (profile, source, delivery_id, session_key, text, address, sender, untrusted, meta, "
        "message_key, state, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending', ?) ON CONFLICT DO NOTHING",
        event.profile,
        event.source,
        event.delivery_id,
        event.session_key,
        event.text,
        to_json(event.address),
        event.sender,
        int(event.untrusted),
        to_json(event.meta),
        event.message_key,
        tx.now,
    )
    if not added:
        found = tx.one(
            "SELECT id, state FROM inbox WHERE profile = ? AND source = ? "
            "AND (delivery_id = ? OR (message_key != '' AND message_key = ?)) ORDER BY delivery_id != ?",
            event.profile,
            event.source,
            event.delivery_id,
            event.message_key,
            event.delivery_id,
        )
        assert found is not None
        return Accepted(id=found[0], duplicate=True, state=found[1])
    number = tx.last_id()
    tx.event(
        "inbox.accepted",
        str(number),
        event.profile,
        {
            "id": number,
            "profile": event.profile,
            "session_key": event.session_key,
            "platform": event.address.platform,
            "source": event.source,
        },
    )
    return Accepted(id=number, duplicate=False)


def cursor_value(view: View, profile: str, source: str) -> str:
    """The committed position, or ''."""
    return view.value("SELECT value FROM cursors WHERE profile = ? AND source = ?", profile, source) or ""


def has_waiting(view: View, profile: str) -> bool:
    """Whether there are pending or running rows."""
    found = view.value(
        "SELECT EXISTS (SELECT 1 FROM inbox WHERE state IN ('pending', 'running') AND profile = ?)", profile
    )
    return bool(found)


def waiting(view: View, profile: str) -> list[InboxRow]:
    """Pending and running rows, oldest first."""
    rows = view.all(
        f"SELECT {INBOX_COLUMNS} FROM inbox WHERE state IN ('pending', 'running') AND profile = ? ORDER BY id",  # noqa: S608 - constant
        profile,
    )
    return [inbox_row(row) for row in rows]


def get(view: View, inbox_id: int) -> InboxRow:
    """One row; raises NotFoundError."""
    row = view.one(f"SELECT {INBOX_COLUMNS} FROM inbox WHERE id = ?", inbox_id)  # noqa: S608 - constant
    if row is None:
        raise NotFoundError(f"no inbox row {inbox_id}", next_step="see `hermesctl inbox`")
    return inbox_row(row)


def listing(view: View, profile: str | None, states: Sequence[InboxState], limit: int) -> list[InboxRow]:
    """Newest first."""
    where, values = filters(profile=profile, states=states)
    rows = view.all(f"SELECT {INBOX_COLUMNS} FROM inbox {where} ORDER BY id DESC LIMIT ?", *values, limit)  # noqa: S608 - constants
    return [inbox_row(row) for row in rows]


def resolve(tx: Transaction, inbox_id: int, action: str, note: str) -> InboxRow:
    """A person's decision; see the protocol."""
    row = get(tx, inbox_id)
    allowed = _RESOLVABLE.get(action)
    if allowed is None:
        raise UsageError(f"{action!r} is not a decision", next_step="use retry, resume or drop")
    if row.state not in allowed:
        raise ConflictError(
            f"inbox row {inbox_id} is {row.state}; {action} is for {' or '.join(allowed)}",
            next_step=f"see `hermesctl inbox show {inbox_id}`",
        )
    if action == "retry":
        tx.run(
            "UPDATE inbox SET state = 'pending', turn_id = '', not_before = 0, error = '' WHERE id = ?",
            inbox_id,
        )
    elif action == "resume":
        _resume(tx, row, note)
    else:
        tx.run("UPDATE inbox SET state = 'dropped', error = ? WHERE id = ?", note or row.error, inbox_id)
        tx.run(
            "UPDATE turns SET state = 'cancelled', ended_at = ? WHERE id = ? AND state IN ('suspended', 'deferred')",
            tx.now,
            row.turn_id,
        )
    resolved = get(tx, inbox_id)
    tx.event("inbox.resolved", str(inbox_id), row.profile, described(resolved) | {"action": action})
    return resolved


_RESOLVABLE: dict[str, tuple[InboxState, ...]] = {
    "retry": ("parked", "failed"),
    "resume": ("parked",),
    "drop": ("parked", "failed", "pending"),
}


def _resume(tx: Transaction, row: InboxRow, note: str) -> None:
    """The turn goes on where it was parked.

    What nobody can know is taken as done, in a ToolResult's shape. The crashes that led here are forgiven, or it
    would be parked again at once. The messages of its ending are withdrawn: it will append them when it ends.
    """
    tx.run(
        "UPDATE steps SET state = 'done', result = ? WHERE turn_id = ? AND state = 'unknown'",
        to_json({"text": note or CONFIRMED}),
        row.turn_id,
    )
    session_id = tx.value("SELECT session_id FROM turns WHERE id = ?", row.turn_id)
    removed = tx.run("DELETE FROM messages WHERE session_id = ? AND turn_id = ?", session_id, row.turn_id)
    tx.run("UPDATE sessions SET messages = messages - ? WHERE id = ?", removed, session_id)
    tx.run("UPDATE turns SET state = 'suspended', ended_at = 0, crashes = 0 WHERE id = ?", row.turn_id)
    tx.run("UPDATE inbox SET state = 'pending', not_before = 0, error = '' WHERE id = ?", row.id)


def described(row: InboxRow) -> dict[str, object]:
    """What an event says of a row."""
    return {
        "id": row.id,
        "profile": row.profile,
        "session_key": row.session_key,
        "platform": row.address.platform,
        "source": row.source,
        "state": row.state,
    }

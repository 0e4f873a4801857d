"""The outbox: offered once a key, attempted, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError, UsageError
from hermesd.store.sqlite.rows import OUTBOX_COLUMNS, outbox_row
from hermesd.store.sqlite.transaction import filters, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import NewOutbox, OutboxRow, OutboxState
    from hermesd.store.sqlite.transaction import Transaction, View


def offer(tx: Transaction, rows: Sequence[NewOutbox]) -> list[OutboxRow]:
    """Queue messages; a key that is known returns what is there."""
    return [_offer_one(tx, row) for row in rows]


def _offer_one(tx: Transaction, new: NewOutbox) -> OutboxRow:
    added = tx.run(
        "INSERT INTO outbox (profile, platform, address, text, idempotency_key, turn_id, kind, state, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 'pending', ?) ON CONFLICT (idempotency_key) DO NOTHING",
        new.profile,
        new.address.platform,
        to_json(new.address),
        new.text,
        new.idempotency_key,
        new.turn_id,
        new.kind,
        tx.now,
    )
    row = by_key(tx, new.idempotency_key)
    assert row is not None
    if added:
        _tell(tx, row, "outbox.queued")
    return row


def due(view: View, profile: str, now: float, limit: int) -> list[OutboxRow]:
    """Pending and due, or attempting; oldest first; never ``rpc``."""
    rows = view.all(
        f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE profile = ?1 AND platform <> 'rpc' "  # noqa: S608 - constant
        "AND ((state = 'pending' AND next_at <= ?2) OR state = 'attempting') ORDER BY id LIMIT ?3",
        profile,
        now,
        limit,
    )
    return [outbox_row(row) for row in rows]


def next_at(view: View, profile: str) -> float | None:
    """When the next pending row falls due."""
    found: float | None = view.value(
        "SELECT min(next_at) FROM outbox WHERE state = 'pending' AND profile = ? AND platform <> 'rpc'", profile
    )
    return found


def mark_attempting(tx: Transaction, outbox_id: int, *, repeat: bool) -> None:
    """About to be sent. Raises NotFoundError, ConflictError when it is not to be sent any more."""
    _require(tx, outbox_id, ("pending", "attempting"), "sent")
    tx.run(
        "UPDATE outbox SET state = 'attempting', attempts = attempts + 1, repeat = max(repeat, ?) WHERE id = ?",
        int(repeat),
        outbox_id,
    )
    _tell(tx, get(tx, outbox_id), "outbox.attempting")


def mark_draft(tx: Transaction, outbox_id: int, ref: str) -> None:
    """Shown in part. Raises NotFoundError."""
    if not tx.run("UPDATE outbox SET ref = ? WHERE id = ?", ref, outbox_id):
        raise _missing(outbox_id)


def mark_sent(tx: Transaction, outbox_id: int, ref: str) -> None:
    """Delivered: a fact, whatever was decided meanwhile. Saying it again changes nothing. Raises NotFoundError."""
    if get(tx, outbox_id).state == "sent":
        return
    tx.run(
        "UPDATE outbox SET state = 'sent', ref = CASE ? WHEN '' THEN ref ELSE ? END, error = '', next_at = 0 "
        "WHERE id = ?",
        ref,
        ref,
        outbox_id,
    )
    _tell(tx, get(tx, outbox_id), "outbox.sent")


def mark_unsent(tx: Transaction, outbox_id: int, *, state: OutboxState, error: str, next_at: float) -> None:
    """Not delivered. Raises NotFoundError, ConflictError, UsageError."""
    kind = _UNSENT_KINDS.get(state)
    if kind is None:
        raise UsageError(f"{state!r} is not a state of an unsent message", next_step="use pending, held or dead")
    _require(tx, outbox_id, ("pending", "attempting"), state)
    tx.run(
        "UPDATE outbox SET state = ?, error = ?, next_at = ? WHERE id = ?",
        state,
        error,
        next_at if state == "pending" else 0.0,
        outbox_id,
    )
    _tell(tx, get(tx, outbox_id), kind)


_UNSENT_KINDS = {"pending": "outbox.retry", "held": "outbox.held", "dead": "outbox.dead"}


def resolve(tx: Transaction, outbox_id: int, action: str) -> OutboxRow:
    """A person's decision; one who says retry gives it all its attempts again.

    Raises NotFoundError, ConflictError, UsageError.
    """
    if action not in ("retry", "drop"):
        raise UsageError(f"{action!r} is not a decision", next_step="use retry or drop")
    _require(tx, outbox_id, ("held", "dead", "pending"), action)
    state = "pending" if action == "retry" else "dropped"
    tx.run(
        "UPDATE outbox SET state = ?1, next_at = 0, attempts = iif(?1 = 'pending', 0, attempts) WHERE id = ?2",
        state,
        outbox_id,
    )
    row = get(tx, outbox_id)
    _tell(tx, row, "outbox.queued" if action == "retry" else "outbox.dropped")
    return row


def get(view: View, outbox_id: int) -> OutboxRow:
    """One row; raises NotFoundError."""
    row = view.one(f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE id = ?", outbox_id)  # noqa: S608 - constant
    if row is None:
        raise _missing(outbox_id)
    return outbox_row(row)


def by_key(view: View, idempotency_key: str) -> OutboxRow | None:
    """The row with this key."""
    row = view.one(f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE idempotency_key = ?", idempotency_key)  # noqa: S608 - constant
    return outbox_row(row) if row else None


def listing(view: View, profile: str | None, states: Sequence[OutboxState], limit: int) -> list[OutboxRow]:
    """Newest first."""
    where, values = filters(profile=profile, states=states)
    rows = view.all(f"SELECT {OUTBOX_COLUMNS} FROM outbox {where} ORDER BY id DESC LIMIT ?", *values, limit)  # noqa: S608 - constants
    return [outbox_row(row) for row in rows]


def _require(tx: Transaction, outbox_id: int, states: tuple[OutboxState, ...], target: str) -> None:
    found = get(tx, outbox_id).state
    if found not in states:
        raise ConflictError(
            f"outbox row {outbox_id} is {found} and cannot become {target}"
            if target in _STATES
            else f"outbox row {outbox_id} is {found}; {target} is for {' or '.join(states)}",
            next_step="see `hermesctl outbox`",
        )


_STATES = ("pending", "attempting", "sent", "held", "dead", "dropped")


def _missing(outbox_id: int) -> NotFoundError:
    return NotFoundError(f"no outbox row {outbox_id}", next_step="see `hermesctl outbox`")


def _tell(tx: Transaction, row: OutboxRow, kind: str) -> None:
    data: dict[str, object] = {
        "id": row.id,
        "platform": row.address.platform,
        "state": row.state,
        "turn_id": row.turn_id,
    }
    if row.error:
        data["error"] = row.error
    tx.event(kind, str(row.id), row.profile, data)

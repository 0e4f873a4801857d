"""Turns and their journal: begun, taken up again, ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.records import BegunTurn
from hermesd.store.sqlite import inbox, outbox, questions, sessions
from hermesd.store.sqlite.ids import new_id
from hermesd.store.sqlite.rows import STEP_COLUMNS, TURN_COLUMNS, step_row, turn_row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import (
        InboxRow,
        InboxState,
        NewMessage,
        NewOutbox,
        StepRow,
        TurnRow,
        TurnState,
    )
    from hermesd.store.sqlite.transaction import Transaction, View

HISTORY_MESSAGES = 1000


def begin(tx: Transaction, inbox_id: int, session_id: str) -> BegunTurn:
    """Start the event's turn, or take it up where it was left. Raises NotFoundError, ConflictError."""
    event = inbox.get(tx, inbox_id)
    if event.state not in ("pending", "running"):
        raise ConflictError(
            f"inbox row {inbox_id} is {event.state}", next_step=f"see `hermesctl inbox show {inbox_id}`"
        )
    known = find(tx, event.turn_id) if event.turn_id else None
    turn_id = _take_up(tx, known) if known and known.state in _RESUMABLE else _start(tx, event, session_id)
    tx.run("UPDATE inbox SET state = 'running', not_before = 0, turn_id = ? WHERE id = ?", turn_id, inbox_id)
    turn = get(tx, turn_id)
    _tell(tx, turn, "turn.started")
    return BegunTurn(
        turn=turn,
        event=inbox.get(tx, inbox_id),
        steps=steps(tx, turn_id),
        history=sessions.messages(tx, turn.session_id, HISTORY_MESSAGES),
    )


_RESUMABLE = ("running", "suspended", "deferred")


def _start(tx: Transaction, event: InboxRow, session_id: str) -> str:
    session = sessions.get(tx, session_id)
    turn_id = new_id("t")
    tx.run(
        "INSERT INTO turns (id, profile, session_id, inbox_id, state, started_at) VALUES (?, ?, ?, ?, 'running', ?)",
        turn_id,
        event.profile,
        session.id,
        event.id,
        tx.now,
    )
    return turn_id


def _take_up(tx: Transaction, turn: TurnRow) -> str:
    """A turn found running was cut by a crash: what it had begun and may not be repeated is now unknown."""
    crashed = turn.state == "running"
    if crashed:
        tx.run(
            "UPDATE steps SET state = 'unknown' "
            "WHERE turn_id = ? AND kind = 'tool' AND state = 'started' AND effect = 'unsafe'",
            turn.id,
        )
    tx.run(
        "UPDATE turns SET state = 'running', attempts = attempts + 1, crashes = crashes + ? WHERE id = ?",
        int(crashed),
        turn.id,
    )
    return turn.id


def journal(tx: Transaction, rows: Sequence[StepRow]) -> None:
    """Insert or replace steps. Raises NotFoundError when a turn does not exist."""
    profiles: dict[str, str] = {}
    for step in rows:
        if step.turn_id not in profiles:
            profiles[step.turn_id] = get(tx, step.turn_id).profile
        tx.run(
            f"INSERT INTO steps ({STEP_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constant
            "ON CONFLICT (turn_id, seq) DO UPDATE SET kind = excluded.kind, name = excluded.name, "
            "state = excluded.state, effect = excluded.effect, key = excluded.key, request = excluded.request, "
            "result = excluded.result, at = excluded.at",
            step.turn_id,
            step.seq,
            step.kind,
            step.name,
            step.state,
            step.effect,
            step.key,
            step.request,
            step.result,
            step.at or tx.now,
        )
        told: dict[str, object] = {"turn_id": step.turn_id, "seq": step.seq, "kind": step.kind, "name": step.name}
        tx.event(f"step.{step.state}", step.turn_id, profiles[step.turn_id], told)


def finish(
    tx: Transaction,
    turn_id: str,
    *,
    state: TurnState,
    inbox_state: InboxState,
    last_steps: Sequence[StepRow],
    messages: Sequence[NewMessage],
    replies: Sequence[NewOutbox],
    model: str,
    input_tokens: int,
    output_tokens: int,
    error: str,
) -> TurnRow:
    """End a running turn. Raises NotFoundError, ConflictError."""
    turn = _running(tx, turn_id)
    journal(tx, last_steps)
    tx.run(
        "UPDATE turns SET state = ?, ended_at = ?, model = ?, input_tokens = ?, output_tokens = ?, error = ? "
        "WHERE id = ?",
        state,
        tx.now,
        model,
        input_tokens,
        output_tokens,
        error,
        turn_id,
    )
    tx.run("UPDATE inbox SET state = ?, error = ? WHERE id = ?", inbox_state, error, turn.inbox_id)
    sessions.append(tx, turn, messages)
    outbox.offer(tx, replies)
    if state != "parked":
        questions.expire_all(tx, turn_id)
    ended = get(tx, turn_id)
    _tell(tx, ended, "turn.parked" if state == "parked" else "turn.finished")
    return ended


def suspend(
    tx: Transaction, turn_id: str, *, state: TurnState, not_before: float, error: str, replies: Sequence[NewOutbox]
) -> None:
    """Put a running turn back. Raises NotFoundError, ConflictError."""
    turn = _running(tx, turn_id)
    tx.run("UPDATE turns SET state = ?, error = ? WHERE id = ?", state, error, turn_id)
    tx.run(
        "UPDATE inbox SET state = 'pending', not_before = ?, error = ? WHERE id = ?", not_before, error, turn.inbox_id
    )
    outbox.offer(tx, replies)
    _tell(tx, get(tx, turn_id), f"turn.{state}")


def _running(tx: Transaction, turn_id: str) -> TurnRow:
    turn = get(tx, turn_id)
    if turn.state != "running":
        raise ConflictError(f"turn {turn_id} is {turn.state}, not running", next_step="see `hermesctl inbox`")
    return turn


def _tell(tx: Transaction, turn: TurnRow, kind: str) -> None:
    data: dict[str, object] = {
        "id": turn.id,
        "inbox_id": turn.inbox_id,
        "session_id": turn.session_id,
        "state": turn.state,
    }
    if turn.crashes:
        data["crashes"] = turn.crashes
    if turn.error:
        data["error"] = turn.error
    tx.event(kind, turn.id, turn.profile, data)


def find(view: View, turn_id: str) -> TurnRow | None:
    """One turn, if it exists."""
    row = view.one(f"SELECT {TURN_COLUMNS} FROM turns WHERE id = ?", turn_id)  # noqa: S608 - constant
    return turn_row(row) if row else None


def get(view: View, turn_id: str) -> TurnRow:
    """One turn; raises NotFoundError."""
    turn = find(view, turn_id)
    if turn is None:
        raise NotFoundError(f"no turn {turn_id[:80]}", next_step="see `hermesctl inbox`")
    return turn


def newest_of(view: View, inbox_id: int) -> TurnRow | None:
    """The event's newest turn."""
    row = view.one(
        f"SELECT {TURN_COLUMNS} FROM turns WHERE inbox_id = ? ORDER BY rowid DESC LIMIT 1",  # noqa: S608 - constant
        inbox_id,
    )
    return turn_row(row) if row else None


def steps(view: View, turn_id: str) -> list[StepRow]:
    """The journal in order."""
    rows = view.all(f"SELECT {STEP_COLUMNS} FROM steps WHERE turn_id = ? ORDER BY seq", turn_id)  # noqa: S608 - constant
    return [step_row(row) for row in rows]

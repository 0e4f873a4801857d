"""Questions to a person: open → answered | expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.sqlite.rows import QUESTION_COLUMNS, question_row
from hermesd.store.sqlite.transaction import to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import QuestionRow
    from hermesd.store.sqlite.transaction import Transaction, View


def ask(
    tx: Transaction,
    *,
    turn_id: str,
    session_id: str,
    profile: str,
    kind: str,
    key: str,
    text: str,
    options: Sequence[str],
) -> QuestionRow:
    """Open a question, or return the one asked under this key."""
    added = tx.run(
        "INSERT INTO questions (turn_id, session_id, profile, kind, key, text, options, state, asked_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, 'open', ?) ON CONFLICT (turn_id, key) DO NOTHING",
        turn_id,
        session_id,
        profile,
        kind,
        key,
        text,
        to_json(list(options)),
        tx.now,
    )
    number = tx.value("SELECT id FROM questions WHERE turn_id = ? AND key = ?", turn_id, key)
    row = get(tx, number)
    if added:
        _tell(tx, row)
    return row


def answer(tx: Transaction, question_id: int, text: str) -> QuestionRow:
    """Answer an open question; raises NotFoundError, ConflictError."""
    row = get(tx, question_id)
    if row.state != "open":
        raise ConflictError(f"question {question_id} is {row.state} already", next_step="see `hermesctl inbox`")
    tx.run("UPDATE questions SET state = 'answered', answer = ? WHERE id = ?", text, question_id)
    answered = get(tx, question_id)
    _tell(tx, answered)
    return answered


def expire(tx: Transaction, question_id: int) -> QuestionRow:
    """Close an open question; one that was answered first stays answered. Raises NotFoundError."""
    row = get(tx, question_id)
    if row.state == "open":
        tx.run("UPDATE questions SET state = 'expired' WHERE id = ?", question_id)
        row = get(tx, question_id)
        _tell(tx, row)
    return row


def expire_all(tx: Transaction, turn_id: str) -> None:
    """The turn has ended: nobody waits for its answers any more."""
    for row in tx.all("SELECT id FROM questions WHERE state = 'open' AND turn_id = ?", turn_id):
        expire(tx, row[0])


def get(view: View, question_id: int) -> QuestionRow:
    """One question; raises NotFoundError."""
    row = view.one(f"SELECT {QUESTION_COLUMNS} FROM questions WHERE id = ?", question_id)  # noqa: S608 - constant
    if row is None:
        raise NotFoundError(f"no question {question_id}", next_step="see `hermesctl inbox`")
    return question_row(row)


def open_ones(view: View, profile: str | None, session_id: str | None) -> list[QuestionRow]:
    """Oldest first."""
    rows = view.all(
        f"SELECT {QUESTION_COLUMNS} FROM questions WHERE state = 'open' "  # noqa: S608 - constant
        "AND (?1 IS NULL OR profile = ?1) AND (?2 IS NULL OR session_id = ?2) ORDER BY id",
        profile,
        session_id,
    )
    return [question_row(row) for row in rows]


def _tell(tx: Transaction, row: QuestionRow) -> None:
    kind = "question.asked" if row.state == "open" else f"question.{row.state}"
    data: dict[str, object] = {
        "id": row.id,
        "turn_id": row.turn_id,
        "session_id": row.session_id,
        "kind": row.kind,
    }
    tx.event(kind, str(row.id), row.profile, data)

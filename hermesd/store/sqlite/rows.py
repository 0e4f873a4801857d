"""Columns to records. Each ``*_COLUMNS`` is the select list its function expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.store.records import (
    Address,
    EventRow,
    InboxRow,
    JobRow,
    MessageRow,
    OutboxRow,
    QuestionRow,
    RunRow,
    SessionRow,
    StepRow,
    TurnRow,
    WatchRow,
)

if TYPE_CHECKING:
    from hermesd.store.sqlite.transaction import Row

_address = msgspec.json.Decoder(Address).decode
_texts = msgspec.json.Decoder(dict[str, str]).decode
_options = msgspec.json.Decoder(list[str]).decode
_data = msgspec.json.Decoder(dict[str, object]).decode

INBOX_COLUMNS = (
    "id, profile, source, delivery_id, session_key, text, address, sender, untrusted, meta, "
    "state, received_at, not_before, turn_id, error, message_key"
)


def inbox_row(row: Row) -> InboxRow:
    """A row of ``inbox``."""
    return InboxRow(
        id=row[0],
        profile=row[1],
        source=row[2],
        delivery_id=row[3],
        session_key=row[4],
        text=row[5],
        address=_address(row[6]),
        sender=row[7],
        untrusted=bool(row[8]),
        meta=_texts(row[9]),
        state=row[10],
        received_at=row[11],
        not_before=row[12],
        turn_id=row[13],
        error=row[14],
        message_key=row[15],
    )


TURN_COLUMNS = (
    "id, profile, session_id, inbox_id, state, started_at, ended_at, crashes, attempts, "
    "model, input_tokens, output_tokens, error"
)


def turn_row(row: Row) -> TurnRow:
    """A row of ``turns``."""
    return TurnRow(
        id=row[0],
        profile=row[1],
        session_id=row[2],
        inbox_id=row[3],
        state=row[4],
        started_at=row[5],
        ended_at=row[6],
        crashes=row[7],
        attempts=row[8],
        model=row[9],
        input_tokens=row[10],
        output_tokens=row[11],
        error=row[12],
    )


STEP_COLUMNS = "turn_id, seq, kind, name, state, effect, key, request, result, at"


def step_row(row: Row) -> StepRow:
    """A row of ``steps``."""
    return StepRow(
        turn_id=row[0],
        seq=row[1],
        kind=row[2],
        name=row[3],
        state=row[4],
        effect=row[5],
        key=row[6],
        request=row[7],
        result=row[8],
        at=row[9],
    )


OUTBOX_COLUMNS = (
    "id, profile, address, text, idempotency_key, turn_id, kind, state, created_at, "
    "attempts, next_at, error, ref, repeat"
)


def outbox_row(row: Row) -> OutboxRow:
    """A row of ``outbox``."""
    return OutboxRow(
        id=row[0],
        profile=row[1],
        address=_address(row[2]),
        text=row[3],
        idempotency_key=row[4],
        turn_id=row[5],
        kind=row[6],
        state=row[7],
        created_at=row[8],
        attempts=row[9],
        next_at=row[10],
        error=row[11],
        ref=row[12],
        repeat=bool(row[13]),
    )


SESSION_COLUMNS = "id, profile, key, source, created_at, updated_at, title, messages"


def session_row(row: Row) -> SessionRow:
    """A row of ``sessions``."""
    return SessionRow(
        id=row[0],
        profile=row[1],
        key=row[2],
        source=row[3],
        created_at=row[4],
        updated_at=row[5],
        title=row[6],
        messages=row[7],
    )


MESSAGE_COLUMNS = "id, session_id, turn_id, role, text, body, body_cut, created_at"


def message_row(row: Row) -> MessageRow:
    """A row of ``messages``, its body made whole again."""
    return MessageRow(
        id=row[0],
        session_id=row[1],
        turn_id=row[2],
        role=row[3],
        text=row[4],
        body=join_body(row[5], row[6], row[4]),
        created_at=row[7],
    )


def cut_body(body: str, text: str) -> tuple[str, int]:
    """The body without the JSON literal of the text, and where that stood (-1: it is not in it)."""
    literal = msgspec.json.encode(text).decode()
    at = body.find(literal)
    return (body, -1) if at < 0 else (body[:at] + body[at + len(literal) :], at)


def join_body(body: str, cut: int, text: str) -> str:
    """The inverse of ``cut_body``."""
    return body if cut < 0 else body[:cut] + msgspec.json.encode(text).decode() + body[cut:]


QUESTION_COLUMNS = "id, turn_id, session_id, profile, kind, text, options, state, key, answer, asked_at"


def question_row(row: Row) -> QuestionRow:
    """A row of ``questions``."""
    return QuestionRow(
        id=row[0],
        turn_id=row[1],
        session_id=row[2],
        profile=row[3],
        kind=row[4],
        text=row[5],
        options=_options(row[6]),
        state=row[7],
        key=row[8],
        answer=row[9],
        asked_at=row[10],
    )


JOB_COLUMNS = "id, profile, name, spec, state, due_at, next_at, fired, created_at, updated_at"


def job_row(row: Row) -> JobRow:
    """A row of ``jobs``."""
    return JobRow(
        id=row[0],
        profile=row[1],
        name=row[2],
        spec=row[3],
        state=row[4],
        due_at=row[5],
        next_at=row[6],
        fired=row[7],
        created_at=row[8],
        updated_at=row[9],
    )


RUN_COLUMNS = "id, job_id, profile, due_at, state, fired_at, started_at, ended_at, inbox_id, output, error"


def run_row(row: Row) -> RunRow:
    """A row of ``runs``."""
    return RunRow(
        id=row[0],
        job_id=row[1],
        profile=row[2],
        due_at=row[3],
        state=row[4],
        fired_at=row[5],
        started_at=row[6],
        ended_at=row[7],
        inbox_id=row[8],
        output=row[9],
        error=row[10],
    )


WATCH_COLUMNS = "id, profile, name, spec, state, primed, fired, last_at, open_inbox, error, created_at, updated_at"


def watch_row(row: Row) -> WatchRow:
    """A row of ``watches``."""
    return WatchRow(
        id=row[0],
        profile=row[1],
        name=row[2],
        spec=row[3],
        state=row[4],
        primed=bool(row[5]),
        fired=row[6],
        last_at=row[7],
        open_inbox=row[8],
        error=row[9],
        created_at=row[10],
        updated_at=row[11],
    )


EVENT_COLUMNS = "id, at, kind, subject, profile, data"


def event_row(row: Row) -> EventRow:
    """A row of ``events``."""
    return EventRow(id=row[0], at=row[1], kind=row[2], subject=row[3], profile=row[4], data=_data(row[5]))

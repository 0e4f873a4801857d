"""Records that store tests are about."""

from __future__ import annotations

from hermesd.store.records import Accepted, Address, BegunTurn, NewEvent, NewMessage, NewOutbox, StepRow
from hermesd.store.sqlite import SqliteStore


def event(
    delivery_id: str = "1", *, profile: str = "default", text: str = "hello", key: str = "telegram:1"
) -> NewEvent:
    return NewEvent(
        profile=profile,
        source="telegram",
        delivery_id=delivery_id,
        session_key=key,
        text=text,
        address=Address(platform="telegram", chat="1"),
        sender="42",
        meta={"lang": "en"},
    )


def reply(key: str = "k1", *, profile: str = "default", platform: str = "telegram", text: str = "hi") -> NewOutbox:
    return NewOutbox(
        profile=profile, address=Address(platform=platform, chat="1"), text=text, idempotency_key=key, turn_id="t_1"
    )


def message(text: str, role: str = "user") -> NewMessage:
    import json

    return NewMessage(role=role, text=text, body=json.dumps({"role": role, "text": text}, ensure_ascii=False))


def step(turn_id: str, seq: int = 0, *, state: str = "started", effect: str = "unsafe", result: str = "") -> StepRow:
    return StepRow(
        turn_id=turn_id,
        seq=seq,
        kind="tool",
        name="terminal",
        state=state,
        effect=effect,
        key=f"call_{seq}",
        request='{"command": "true"}',
        result=result,
    )


async def accept(store: SqliteStore, delivery_id: str = "1", **fields: str) -> Accepted:
    (accepted,) = await store.accept([event(delivery_id, **fields)])
    return accepted


async def begun(store: SqliteStore, delivery_id: str = "1", **fields: str) -> BegunTurn:
    """An accepted event whose turn has begun."""
    accepted = await accept(store, delivery_id, **fields)
    row = await store.inbox_row(accepted.id)
    session = await store.open_session(row.profile, row.session_key, source=row.source)
    return await store.begin_turn(accepted.id, session_id=session.id)


async def say(store: SqliteStore, *texts: str, profile: str = "default", key: str = "telegram:1") -> str:
    """Messages appended to a session by a turn that is done; returns the session's id."""
    taken = await begun(store, f"say-{await store.last_event_id()}", profile=profile, key=key)
    await store.finish_turn(taken.turn.id, state="done", inbox_state="done", messages=[message(text) for text in texts])
    return taken.turn.session_id

"""Turns: begun, journalled, cut, taken up, ended."""

from __future__ import annotations

import pytest

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.sqlite import SqliteStore
from tests.unit.store.samples import accept, begun, message, reply, step


async def test_beginning_a_turn_makes_the_event_running(store: SqliteStore) -> None:
    """The engine gets turn, event, an empty journal and the session's history."""
    taken = await begun(store)
    assert (taken.turn.state, taken.event.state, taken.event.turn_id) == ("running", "running", taken.turn.id)
    assert (taken.steps, taken.history, taken.turn.attempts, taken.turn.crashes) == ([], [], 1, 0)


async def test_history_holds_earlier_turns_of_the_session(store: SqliteStore) -> None:
    """In the order they were said."""
    first = await begun(store, "1")
    await store.finish_turn(
        first.turn.id, state="done", inbox_state="done", messages=[message("a"), message("b", "assistant")]
    )
    second = await begun(store, "2")
    assert [(row.role, row.text) for row in second.history] == [("user", "a"), ("assistant", "b")]


async def test_a_turn_found_running_was_cut_by_a_crash(store: SqliteStore) -> None:
    """Crashes are counted, and only what was started and is unsafe becomes unknown."""
    taken = await begun(store)
    await store.journal(
        [
            step(taken.turn.id, 0, state="done"),
            step(taken.turn.id, 1, state="started", effect="unsafe"),
            step(taken.turn.id, 2, state="started", effect="idempotent"),
            step(taken.turn.id, 3, state="intent", effect="unsafe"),
        ]
    )
    again = await store.begin_turn(taken.event.id, session_id=taken.turn.session_id)
    assert [found.state for found in again.steps] == ["done", "unknown", "started", "intent"]
    assert (again.turn.id, again.turn.crashes, again.turn.attempts) == (taken.turn.id, 1, 2)


async def test_a_suspended_turn_is_taken_up_without_a_crash(store: SqliteStore) -> None:
    """An orderly stop is not held against the turn."""
    taken = await begun(store)
    await store.suspend_turn(taken.turn.id, state="suspended")
    assert (await store.inbox_row(taken.event.id)).state == "pending"
    again = await store.begin_turn(taken.event.id, session_id=taken.turn.session_id)
    assert (again.turn.id, again.turn.crashes, again.turn.attempts, again.turn.state) == (
        taken.turn.id,
        0,
        2,
        "running",
    )


async def test_a_deferred_event_knows_when_it_is_due(store: SqliteStore) -> None:
    """``not_before`` is kept until the turn is taken up; the notice is queued in the same commit."""
    taken = await begun(store)
    await store.suspend_turn(taken.turn.id, state="deferred", not_before=5e9, error="away", outbox=[reply()])
    (row,) = await store.waiting("default")
    assert (row.not_before, row.error) == (5e9, "away")
    assert len(await store.outbox()) == 1
    again = await store.begin_turn(taken.event.id, session_id=taken.turn.session_id)
    assert again.event.not_before == 0


async def test_finishing_commits_messages_reply_and_acknowledgement_together(store: SqliteStore) -> None:
    """One call, and the returned row says how the turn ended."""
    taken = await begun(store)
    ended = await store.finish_turn(
        taken.turn.id,
        state="done",
        inbox_state="done",
        messages=[message("hello"), message("hi", "assistant")],
        outbox=[reply()],
        model="m",
        input_tokens=5,
        output_tokens=7,
    )
    assert (ended.state, ended.model, ended.input_tokens, ended.output_tokens) == ("done", "m", 5, 7)
    assert ended.ended_at >= ended.started_at
    assert (await store.inbox_row(taken.event.id)).state == "done"
    assert [row.text for row in await store.messages(taken.turn.session_id)] == ["hello", "hi"]
    assert (await store.session(taken.turn.session_id)).messages == 2
    assert [row.text for row in await store.outbox()] == ["hi"]


async def test_a_turn_ends_once(store: SqliteStore) -> None:
    """A second ending is refused and changes nothing."""
    taken = await begun(store)
    await store.finish_turn(taken.turn.id, state="done", inbox_state="done")
    with pytest.raises(ConflictError):
        await store.finish_turn(taken.turn.id, state="failed", inbox_state="failed", outbox=[reply()])
    with pytest.raises(ConflictError):
        await store.suspend_turn(taken.turn.id, state="suspended")
    assert await store.outbox() == []
    assert (await store.inbox_row(taken.event.id)).state == "done"


async def test_an_ended_event_cannot_be_begun_again(store: SqliteStore) -> None:
    """Once per delivery id."""
    taken = await begun(store)
    await store.finish_turn(taken.turn.id, state="done", inbox_state="done")
    with pytest.raises(ConflictError):
        await store.begin_turn(taken.event.id, session_id=taken.turn.session_id)


async def test_a_journalled_step_is_replaced_by_position(store: SqliteStore) -> None:
    """(turn, seq) is the key; order is by seq."""
    taken = await begun(store)
    await store.journal([step(taken.turn.id, 1), step(taken.turn.id, 0)])
    await store.journal([step(taken.turn.id, 1, state="done", result="{}")])
    assert [(row.seq, row.state, row.result) for row in await store.steps(taken.turn.id)] == [
        (0, "started", ""),
        (1, "done", "{}"),
    ]


async def test_a_journal_needs_its_turn(store: SqliteStore) -> None:
    """Nothing of the call is kept when one turn does not exist."""
    taken = await begun(store)
    with pytest.raises(NotFoundError):
        await store.journal([step(taken.turn.id), step("t_none")])
    assert await store.steps(taken.turn.id) == []


async def test_a_turn_needs_its_event_and_session(store: SqliteStore) -> None:
    """Either missing is said by name."""
    accepted = await accept(store)
    with pytest.raises(NotFoundError, match="session"):
        await store.begin_turn(accepted.id, session_id="s_none")
    with pytest.raises(NotFoundError, match="inbox row 99"):
        await store.begin_turn(99, session_id="s_none")
    with pytest.raises(NotFoundError):
        await store.turn("t_none")
    assert await store.turn_of(accepted.id) is None


async def test_every_state_change_has_its_event(store: SqliteStore) -> None:
    """Kinds and order are those that watchers rely on."""
    taken = await begun(store)
    await store.journal([step(taken.turn.id)])
    await store.suspend_turn(taken.turn.id, state="suspended")
    await store.begin_turn(taken.event.id, session_id=taken.turn.session_id)
    await store.finish_turn(taken.turn.id, state="parked", inbox_state="parked", outbox=[reply()])
    kinds = [row.kind for row in (await store.events_since(0)).events]
    assert kinds == [
        "inbox.accepted",
        "session.created",
        "turn.started",
        "step.started",
        "turn.suspended",
        "turn.started",
        "outbox.queued",
        "turn.parked",
    ]

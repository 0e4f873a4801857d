"""Questions to a person."""

from __future__ import annotations

import pytest

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.records import QuestionRow
from hermesd.store.sqlite import SqliteStore
from tests.unit.store.samples import begun


async def _asked(store: SqliteStore, turn_id: str = "t_1", key: str = "0:approve", session: str = "s_1") -> QuestionRow:
    return await store.ask(
        turn_id=turn_id,
        session_id=session,
        profile="default",
        kind="approve",
        key=key,
        text="Allow?",
        options=["yes", "no"],
    )


async def test_a_question_is_asked_once_for_each_key(store: SqliteStore) -> None:
    """A turn taken up again finds the question it asked before, with its answer."""
    first = await _asked(store)
    assert (first.state, first.options) == ("open", ["yes", "no"])
    await store.answer(first.id, "yes")
    again = await _asked(store)
    assert (again.id, again.state, again.answer) == (first.id, "answered", "yes")


async def test_a_question_is_answered_once(store: SqliteStore) -> None:
    """The first answer counts; an expired question takes none."""
    row = await _asked(store)
    await store.answer(row.id, "yes")
    with pytest.raises(ConflictError):
        await store.answer(row.id, "no")
    await store.expire_question(row.id)
    assert (await _asked(store)).state == "answered"
    other = await _asked(store, key="1:approve")
    await store.expire_question(other.id)
    with pytest.raises(ConflictError):
        await store.answer(other.id, "yes")
    with pytest.raises(NotFoundError):
        await store.answer(99, "yes")


async def test_open_questions_are_oldest_first_and_filtered(store: SqliteStore) -> None:
    """By profile and by session."""
    first = await _asked(store)
    second = await _asked(store, key="1", session="s_2")
    assert [row.id for row in await store.open_questions()] == [first.id, second.id]
    assert [row.id for row in await store.open_questions(session_id="s_2", profile="default")] == [second.id]
    assert await store.open_questions(profile="coder") == []


async def test_a_turn_that_ends_closes_its_questions(store: SqliteStore) -> None:
    """Nobody is asked for something that nobody waits for."""
    taken = await begun(store)
    await _asked(store, turn_id=taken.turn.id)
    await store.finish_turn(taken.turn.id, state="cancelled", inbox_state="done")
    assert await store.open_questions() == []
    kinds = [row.kind for row in (await store.events_since(0)).events]
    assert kinds[-3:] == ["question.asked", "question.expired", "turn.finished"]

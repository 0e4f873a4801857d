"""Accepting events, and what people decide about them."""

from __future__ import annotations

import msgspec
import pytest
import trio

from hermesd.errors import ConflictError, NotFoundError, UsageError
from hermesd.store.records import Cursor
from hermesd.store.sqlite import SqliteStore
from tests.unit.store.samples import accept, begun, event, message, reply, step


async def test_an_accepted_event_is_read_back_as_it_was_given(store: SqliteStore) -> None:
    """Every field of the event survives, and the row is pending."""
    accepted = await accept(store, "7")
    row = await store.inbox_row(accepted.id)
    given = event("7")
    assert (row.text, row.address, row.sender, row.meta, row.delivery_id) == (
        given.text,
        given.address,
        given.sender,
        given.meta,
        "7",
    )
    assert (row.state, accepted.state, accepted.duplicate) == ("pending", "pending", False)


async def test_a_message_that_comes_again_under_another_delivery_id_is_a_duplicate(store: SqliteStore) -> None:
    """The platform's own message id is a second key; events without one are never taken for each other."""
    first = msgspec.structs.replace(event("1"), message_key="chat:5")
    again = msgspec.structs.replace(event("2"), message_key="chat:5")
    [one] = await store.accept([first])
    [two] = await store.accept([again])
    assert (two.id, two.duplicate) == (one.id, True)
    assert [row.duplicate for row in await store.accept([event("3"), event("4")])] == [False, False]


async def test_a_repeated_delivery_id_is_answered_duplicate(store: SqliteStore) -> None:
    """The second offer names the first row and its state, and adds nothing."""
    first = await accept(store)
    await begun(store)
    again = await accept(store)
    assert (again.id, again.duplicate, again.state) == (first.id, True, "running")
    assert len(await store.inbox()) == 1


async def test_the_same_delivery_id_in_one_batch_is_accepted_once(store: SqliteStore) -> None:
    """Duplicates are found within a call as well as across calls."""
    first, second = await store.accept([event("1"), event("1")])
    assert (first.duplicate, second.duplicate, second.id) == (False, True, first.id)


async def test_other_profiles_and_sources_have_their_own_delivery_ids(store: SqliteStore) -> None:
    """The key is (profile, source, delivery id)."""
    await accept(store, "1")
    assert not (await accept(store, "1", profile="coder")).duplicate


async def test_two_tasks_that_offer_one_event_get_one_row(store: SqliteStore) -> None:
    """Exactly one of many simultaneous offers is not a duplicate."""
    answers: list[bool] = []

    async def offer() -> None:
        answers.append((await accept(store, "same")).duplicate)

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(offer)
    assert sorted(answers) == [False] + [True] * 19


async def test_a_cursor_is_committed_with_its_events(store: SqliteStore) -> None:
    """The source's position moves in the same call, also when there is no event."""
    assert await store.cursor("default", "telegram") == ""
    await store.accept([event()], cursor=Cursor(profile="default", source="telegram", value="100"))
    assert await store.cursor("default", "telegram") == "100"
    await store.accept([], cursor=Cursor(profile="default", source="telegram", value="101"))
    assert await store.cursor("default", "telegram") == "101"
    assert await store.cursor("coder", "telegram") == ""


async def test_waiting_holds_pending_and_running_rows_oldest_first(store: SqliteStore) -> None:
    """What the router takes up at start: nothing that has ended, nothing of another profile."""
    done = await begun(store, "1")
    await store.finish_turn(done.turn.id, state="done", inbox_state="done")
    running = await begun(store, "2")
    pending = await accept(store, "3")
    await accept(store, "4", profile="coder")
    assert [row.id for row in await store.waiting("default")] == [running.event.id, pending.id]


async def test_lists_are_newest_first_and_filtered(store: SqliteStore) -> None:
    """Profile, states and limit all narrow the list."""
    ids = [(await accept(store, str(number))).id for number in range(5)]
    assert [row.id for row in await store.inbox()] == ids[::-1]
    assert [row.id for row in await store.inbox(limit=2)] == ids[:2:-1]
    assert await store.inbox(states=["done", "parked"]) == []
    assert await store.inbox(profile="coder") == []
    assert len(await store.inbox(profile="default", states=["pending"])) == 5


async def test_lone_surrogates_are_stored_as_question_marks(store: SqliteStore) -> None:
    """A platform's broken text must not make its event impossible to accept."""
    broken = event("\ud800id", text="a\udfffb", key="k\ud800")
    (accepted,) = await store.accept([broken])
    row = await store.inbox_row(accepted.id)
    assert (row.delivery_id, row.text, row.session_key) == ("?id", "a?b", "k?")
    page = await store.events_since(0)
    assert page.events[0].data["session_key"] == "k?"


async def test_an_unknown_row_is_not_found(store: SqliteStore) -> None:
    """Reading and resolving both say so."""
    with pytest.raises(NotFoundError):
        await store.inbox_row(99)
    with pytest.raises(NotFoundError):
        await store.resolve_inbox(99, action="drop")


async def _parked(store: SqliteStore) -> tuple[int, str]:
    taken = await begun(store)
    await store.journal([step(taken.turn.id, 0, state="unknown")])
    await store.finish_turn(
        taken.turn.id, state="parked", inbox_state="parked", messages=[message("hello"), message("[cut]", "assistant")]
    )
    return taken.event.id, taken.turn.id


async def test_retry_of_a_parked_row_begins_a_fresh_turn(store: SqliteStore) -> None:
    """The row is pending again, and its next turn has a journal of its own."""
    inbox_id, turn_id = await _parked(store)
    row = await store.resolve_inbox(inbox_id, action="retry")
    assert (row.state, row.turn_id) == ("pending", "")
    again = await store.begin_turn(inbox_id, session_id=(await store.turn(turn_id)).session_id)
    assert again.turn.id != turn_id
    assert again.steps == []
    newest = await store.turn_of(inbox_id)
    assert newest is not None
    assert newest.id == again.turn.id


async def test_resume_takes_the_unknown_step_as_done_with_the_note(store: SqliteStore) -> None:
    """The same turn goes on, its crashes forgiven, its early ending's messages withdrawn."""
    inbox_id, turn_id = await _parked(store)
    await store.resolve_inbox(inbox_id, action="resume", note="it worked")
    again = await store.begin_turn(inbox_id, session_id="unused")
    assert (again.turn.id, again.turn.crashes) == (turn_id, 0)
    assert [(found.state, found.result) for found in again.steps] == [("done", '{"text":"it worked"}')]
    assert again.history == []
    assert (await store.session(again.turn.session_id)).messages == 0


async def test_drop_ends_a_row(store: SqliteStore) -> None:
    """A dropped row is not waited for and cannot be begun."""
    inbox_id, _ = await _parked(store)
    assert (await store.resolve_inbox(inbox_id, action="drop")).state == "dropped"
    assert await store.waiting("default") == []
    with pytest.raises(ConflictError):
        await store.begin_turn(inbox_id, session_id="s_1")


async def test_dropping_a_deferred_row_cancels_its_turn(store: SqliteStore) -> None:
    """A message that waits for an endpoint can be given up."""
    taken = await begun(store)
    await store.suspend_turn(taken.turn.id, state="deferred", not_before=9e9, outbox=[reply()])
    await store.resolve_inbox(taken.event.id, action="drop")
    assert (await store.turn(taken.turn.id)).state == "cancelled"


@pytest.mark.parametrize("action", ["retry", "resume"])
async def test_a_row_under_way_cannot_be_resolved(store: SqliteStore, action: str) -> None:
    """Only parked (or failed, for retry) rows wait for a decision."""
    taken = await begun(store)
    with pytest.raises(ConflictError):
        await store.resolve_inbox(taken.event.id, action=action)


async def test_an_unknown_decision_is_a_usage_error(store: SqliteStore) -> None:
    """The three decisions are named."""
    accepted = await accept(store)
    with pytest.raises(UsageError, match="explode"):
        await store.resolve_inbox(accepted.id, action="explode")


async def test_a_decision_is_told_as_an_event(store: SqliteStore) -> None:
    """Routers listen for ``inbox.resolved``."""
    inbox_id, _ = await _parked(store)
    await store.resolve_inbox(inbox_id, action="retry")
    last = (await store.events_since(0)).events[-1]
    assert (last.kind, last.data["id"], last.data["action"]) == ("inbox.resolved", inbox_id, "retry")

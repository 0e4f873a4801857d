"""Waiting for an event's answer: how long, how many, and who is sent away."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from hermesd.store.records import Address, NewEvent
from hermesd.store.sqlite import SqliteStore
from hermesd.triggers.webhook_wait import MAX_WAIT_S, MAX_WAITING_ON_ROUTE, Answer, WaitingRoom, wanted_wait_s


@pytest.mark.parametrize(
    ("query", "seconds"),
    [("", 0), ("a=b", 0), ("wait=0", 0), ("wait=5", 5), ("a=b&wait=2.5", 2.5), ("wait=999999", MAX_WAIT_S)],
)
def test_the_seconds_that_a_query_asks_for(query: str, seconds: float) -> None:
    """Bounded."""
    assert wanted_wait_s(query) == seconds


@pytest.mark.parametrize("query", ["wait=", "wait=x", "wait=-1", "wait=1e9", "wait=1.2.3", "wait=.", "wait=1&wait=1"])
def test_what_is_no_number_of_seconds_is_refused(query: str) -> None:
    """With a sentence for the sender."""
    with pytest.raises(ValueError, match="wait is not a number of seconds"):
        wanted_wait_s(query)


@given(st.text())
def test_any_query_is_read_or_refused(query: str) -> None:
    """Within the bounds."""
    with contextlib.suppress(ValueError):
        assert 0 <= wanted_wait_s(query) <= MAX_WAIT_S


async def event(store: SqliteStore, name: str, profile: str = "default") -> int:
    new = NewEvent(
        profile=profile,
        source="webhook:one",
        delivery_id=name,
        session_key=name,
        text="hello",
        address=Address(platform="log"),
    )
    [accepted] = await store.accept([new])
    return accepted.id


@pytest.fixture
async def store(tmp_path: Path, nursery: trio.Nursery) -> SqliteStore:
    opened = SqliteStore.open(tmp_path / "state.db")
    await nursery.start(lambda task_status: opened.run(task_status=task_status))
    return opened


async def test_those_who_wait_are_bounded_and_told_when_it_is_decided(store: SqliteStore) -> None:
    """By route; whatever decides counts, here a person who drops the event."""
    room = WaitingRoom(store)
    row = await event(store, "a")
    answers: list[Answer | None] = []

    async def wait() -> None:
        answers.append(await room.answer(row, profile="default", route="one", seconds=60))

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_WAITING_ON_ROUTE):
                nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert not room.has_place("default", "one")
            assert room.has_place("default", "two")
            await store.resolve_inbox(row, action="drop")
    assert {answer.state for answer in answers if answer} == {"dropped"}
    assert len(answers) == MAX_WAITING_ON_ROUTE
    assert room.has_place("default", "one")


async def test_a_profile_that_stops_sends_its_own_away_and_a_drain_everybody(store: SqliteStore) -> None:
    """While it is drained nobody may wait, afterwards again."""
    room = WaitingRoom(store)
    gone: list[str] = []

    async def wait(profile: str, row: int) -> None:
        assert await room.answer(row, profile=profile, route="one", seconds=60) is None
        gone.append(profile)

    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            for profile in ("default", "coder"):
                nursery.start_soon(wait, profile, await event(store, profile, profile))
            await wait_all_tasks_blocked()
            room.release("coder")
            await wait_all_tasks_blocked()
            assert gone == ["coder"]
            with room.closed():
                await wait_all_tasks_blocked()
                assert gone == ["coder", "default"]
                assert await room.answer(1, profile="default", route="one", seconds=60) is None
            nursery.start_soon(wait, "default", 1)
            await wait_all_tasks_blocked()
            assert len(gone) == 2
            room.release()


async def test_an_event_that_is_gone_has_no_answer(store: SqliteStore) -> None:
    """Its profile was deleted while somebody waited."""
    assert await WaitingRoom(store).answer(99, profile="default", route="one", seconds=5) is None

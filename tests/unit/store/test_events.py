"""The event log and those who listen to it."""

from __future__ import annotations

import logging
import time

import pytest
import trio

from hermesd.store.records import EventRow
from hermesd.store.sqlite import SqliteStore
from tests.unit.store.samples import accept


async def test_the_suffix_after_a_revision_is_exact(store: SqliteStore) -> None:
    """Revisions have no gaps; a limit gives the first part of the suffix."""
    for number in range(6):
        await store.record_event("test.made", subject=str(number), data={"n": number})
    page = await store.events_since(2)
    assert [(row.id, row.data["n"]) for row in page.events] == [(3, 2), (4, 3), (5, 4), (6, 5)]
    assert (page.last_id, page.oldest_id, page.truncated) == (6, 1, False)
    assert [row.id for row in (await store.events_since(2, limit=2)).events] == [3, 4]
    assert (await store.events_since(6)).events == []


async def test_a_revision_that_is_too_old_says_so(store: SqliteStore) -> None:
    """After pruning, a watcher learns that it missed something, and numbers go on from where they were."""
    for number in range(3):
        await store.record_event("test.made", subject=str(number))
    await store.prune(older_than=time.time() + 1)
    empty = await store.events_since(1)
    assert (empty.events, empty.truncated, empty.last_id, empty.oldest_id) == ([], True, 3, 4)
    assert not (await store.events_since(3)).truncated
    assert (await store.record_event("test.made", subject="x")).id == 4
    assert await store.last_event_id() == 4


async def test_events_of_one_profile_can_be_asked_for(store: SqliteStore) -> None:
    """The filter leaves the revisions as they are."""
    await store.record_event("test.made", subject="a", profile="one")
    await store.record_event("test.made", subject="b", profile="two")
    assert [row.id for row in (await store.events_since(0, profile="two")).events] == [2]


async def test_listeners_hear_every_commit_in_order(store: SqliteStore) -> None:
    """What is told is what is stored, also under concurrent writers; an unsubscribed listener hears nothing."""
    heard: list[EventRow] = []
    unsubscribe = store.subscribe(heard.extend)
    async with trio.open_nursery() as nursery:
        for number in range(50):
            nursery.start_soon(accept, store, str(number))
    assert heard == (await store.events_since(0)).events
    unsubscribe()
    await accept(store, "more")
    assert len(heard) == 50


async def test_a_listener_is_called_before_the_writer_of_the_event_goes_on(store: SqliteStore) -> None:
    """Whoever accepted an event finds it already told."""
    heard: list[EventRow] = []
    store.subscribe(heard.extend)
    accepted = await accept(store)
    assert [row.data["id"] for row in heard] == [accepted.id]


async def test_a_listener_that_raises_disturbs_nobody(store: SqliteStore, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; other listeners and the writer's caller go on."""
    heard: list[EventRow] = []

    def broken(_: list[EventRow]) -> None:
        raise ValueError("listener bug")

    store.subscribe(broken)
    store.subscribe(heard.extend)
    with caplog.at_level(logging.ERROR):
        await accept(store)
    assert len(heard) == 1
    assert "listener" in caplog.text


async def test_small_values_are_set_read_and_removed(store: SqliteStore) -> None:
    """Bytes, by name."""
    assert await store.get_value("budget") is None
    await store.set_value("budget", b"\x00\xff")
    await store.set_value("budget", b"2")
    assert await store.get_value("budget") == b"2"
    await store.set_value("budget", None)
    assert await store.get_value("budget") is None


async def test_event_data_that_is_no_mapping_is_kept_under_value(store: SqliteStore) -> None:
    """An EventRow's data is an object."""
    assert (await store.record_event("test.made", subject="a", data=[1])).data == {"value": [1]}

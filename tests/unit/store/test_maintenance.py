"""Counts, pruning, and a profile's end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from hermesd.errors import ConflictError, NotFoundError, StoreError
from hermesd.store.records import Backlog, Cursor
from hermesd.store.sqlite import SqliteStore, maintenance
from hermesd.store.sqlite.foreign import backlog_of
from tests.unit.store.samples import accept, begun, event, message, reply, step


async def _done(store: SqliteStore, delivery_id: str, profile: str = "default") -> str:
    taken = await begun(store, delivery_id, profile=profile)
    await store.journal([step(taken.turn.id, state="done")])
    await store.finish_turn(
        taken.turn.id,
        state="done",
        inbox_state="done",
        messages=[message(f"text {delivery_id}")],
        outbox=[reply(f"{profile}:{delivery_id}", profile=profile)],
    )
    return taken.turn.id


async def test_counts_are_by_state(store: SqliteStore) -> None:
    """Inbox, outbox, sessions, events."""
    await _done(store, "1")
    await accept(store, "2")
    counts = await store.counts()
    assert (counts.inbox, counts.outbox, counts.sessions) == ({"done": 1, "pending": 1}, {"pending": 1}, 1)
    assert counts.events == await store.last_event_id()


async def test_backlog_is_what_only_the_daemon_can_go_on_with(store: SqliteStore, path: Path) -> None:
    """Of one profile here, of all from outside: not what has ended, waits for a person, or is a client's to fetch."""
    await _done(store, "1")
    await accept(store, "2")
    await begun(store, "3", profile="coder")
    await store.offer([reply("fetched", platform="rpc")])
    (dropped,) = await store.accept([event("4")])
    await store.resolve_inbox(dropped.id, action="drop")
    assert await store.backlog("default") == Backlog(messages=1, answers=1)
    assert await store.backlog("coder") == Backlog(messages=1, answers=0)
    assert (await store.backlog("nobody")).is_empty
    assert backlog_of(path) == Backlog(messages=2, answers=1), "while its daemon runs"


async def test_backlog_of_a_store_that_is_closed_is_seen_and_nothing_is_made(path: Path, tmp_path: Path) -> None:
    """Its daemon may be down, or never have run; a file that is none of ours is said to be so."""
    assert backlog_of(path).is_empty
    assert not path.parent.exists()
    async with trio.open_nursery() as nursery:
        opened = SqliteStore.open(path)
        await nursery.start(lambda task_status: opened.run(task_status=task_status))
        await accept(opened, "1")
        nursery.cancel_scope.cancel()
    opened.close()
    assert backlog_of(path) == Backlog(messages=1, answers=0)
    (tmp_path / "torn.db").write_bytes(path.read_bytes()[:4000])
    with pytest.raises(StoreError):
        backlog_of(tmp_path / "torn.db")


async def test_pruning_forgets_delivery_ids_and_keeps_conversations(store: SqliteStore) -> None:
    """What ended goes, with its journal; messages, turns and whatever waits stay."""
    turn_id = await _done(store, "1")
    (row,) = await store.outbox()
    await store.mark_sent(row.id, ref="1")
    waiting = await accept(store, "2")
    assert await store.prune(older_than=time.time() - 3600) == 0
    events = await store.last_event_id()
    assert await store.prune(older_than=time.time() + 3600) == 2 + events
    assert [left.id for left in await store.inbox()] == [waiting.id]
    assert await store.steps(turn_id) == []
    assert (await store.turn(turn_id)).state == "done"
    assert await store.search("text")
    assert not (await accept(store, "1")).duplicate


async def test_pruning_goes_on_until_all_is_done(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """In portions, so that no other commit waits for a long one."""
    monkeypatch.setattr(maintenance, "PRUNE_ROWS", 7)
    await store.accept([event(str(number)) for number in range(30)])
    for row in await store.inbox():
        await store.resolve_inbox(row.id, action="drop")
    assert await store.prune(older_than=time.time() + 1) == 30 + 60
    assert await store.inbox() == []


async def test_parked_rows_and_undelivered_messages_outlive_pruning(store: SqliteStore) -> None:
    """A person still has to decide."""
    taken = await begun(store)
    await store.finish_turn(taken.turn.id, state="parked", inbox_state="parked", outbox=[reply()])
    (row,) = await store.outbox()
    await store.mark_unsent(row.id, state="dead", error="gone")
    await store.prune(older_than=time.time() + 1)
    assert [found.state for found in await store.inbox()] == ["parked"]
    assert [found.state for found in await store.outbox()] == ["dead"]


async def test_a_deleted_profile_leaves_nothing_but_the_event_that_says_so(store: SqliteStore) -> None:
    """Other profiles are as they were."""
    turn_id = await _done(store, "1", profile="gone")
    await store.accept([], cursor=Cursor(profile="gone", source="telegram", value="5"))
    await _done(store, "1", profile="stays")
    await store.delete_profile("gone")
    assert [row.profile for row in await store.inbox()] == ["stays"]
    assert [row.profile for row in await store.sessions()] == ["stays"]
    assert [row.profile for row in await store.outbox()] == ["stays"]
    assert await store.cursor("gone", "telegram") == ""
    assert await store.steps(turn_id) == []
    with pytest.raises(NotFoundError):
        await store.turn(turn_id)
    assert [row.kind for row in (await store.events_since(0, profile="gone")).events] == ["profile.deleted"]


async def test_a_renamed_profile_keeps_its_rows_and_delivery_ids(store: SqliteStore) -> None:
    """A repeated delivery is a duplicate under the new name; a name in use is refused."""
    await _done(store, "1", profile="old")
    await _done(store, "1", profile="used")
    with pytest.raises(ConflictError):
        await store.rename_profile("old", "used")
    session = (await store.sessions(profile="old"))[0]
    await store.rename_profile("old", "new")
    assert await store.inbox(profile="old") == []
    assert (await accept(store, "1", profile="new")).duplicate
    assert (await store.open_session("new", "telegram:1", source="telegram")).id == session.id

"""The outbox: once a key, in order, and never forgotten."""

from __future__ import annotations

import pytest

from hermesd.errors import ConflictError, NotFoundError, UsageError
from hermesd.store.records import OutboxRow
from hermesd.store.sqlite import SqliteStore
from tests.unit.store.samples import reply


async def _offered(store: SqliteStore, key: str = "k1", **fields: str) -> OutboxRow:
    (row,) = await store.offer([reply(key, **fields)])
    return row


async def test_a_known_idempotency_key_returns_the_row_already_there(store: SqliteStore) -> None:
    """Offering again changes nothing, whatever the text."""
    first = await _offered(store, text="one")
    assert await _offered(store, text="two") == first
    assert await store.outbox_by_key("k1") == first
    assert await store.outbox_by_key("k2") is None


async def test_due_rows_are_pending_or_attempting_and_never_rpc(store: SqliteStore) -> None:
    """Oldest first; rows for later, of others, and those collected by a caller stay out."""
    cut = await _offered(store, "cut")
    later = await _offered(store, "later")
    due = await _offered(store, "due")
    await _offered(store, "rpc", platform="rpc")
    await _offered(store, "other", profile="coder")
    await store.mark_attempting(cut.id)
    await store.mark_attempting(later.id)
    await store.mark_unsent(later.id, state="pending", error="429", next_at=200.0)
    assert [row.id for row in await store.due_outbox("default", now=100.0)] == [cut.id, due.id]
    assert [row.id for row in await store.due_outbox("default", now=200.0)] == [cut.id, later.id, due.id]
    assert [row.id for row in await store.due_outbox("default", now=200.0, limit=1)] == [cut.id]


async def test_next_outbox_at_is_the_earliest_pending_row(store: SqliteStore) -> None:
    """None when nothing waits; rpc rows do not count."""
    await _offered(store, "rpc", platform="rpc")
    assert await store.next_outbox_at("default") is None
    for key, at in (("a", 300.0), ("b", 200.0)):
        row = await _offered(store, key)
        await store.mark_unsent(row.id, state="pending", error="", next_at=at)
    assert await store.next_outbox_at("default") == 200.0


async def test_a_delivered_message_keeps_its_reference(store: SqliteStore) -> None:
    """attempts, draft and ref tell the story of the row."""
    row = await _offered(store)
    await store.mark_attempting(row.id)
    await store.mark_draft(row.id, ref="m1")
    await store.mark_attempting(row.id, repeat=True)
    await store.mark_sent(row.id, ref="m1,m2")
    sent = await store.outbox_row(row.id)
    assert (sent.state, sent.attempts, sent.ref, sent.repeat) == ("sent", 2, "m1,m2", True)
    await store.mark_sent(row.id, ref="")
    assert (await store.outbox_row(row.id)).ref == "m1,m2"


@pytest.mark.parametrize("state", ["held", "dead"])
async def test_a_given_up_message_waits_for_a_decision(store: SqliteStore, state: str) -> None:
    """It is not due and may not be attempted until someone says retry."""
    row = await _offered(store)
    await store.mark_attempting(row.id)
    await store.mark_unsent(row.id, state=state, error="403")
    assert await store.due_outbox("default", now=9e9) == []
    with pytest.raises(ConflictError):
        await store.mark_attempting(row.id)
    assert (await store.resolve_outbox(row.id, action="retry")).state == "pending"
    assert len(await store.due_outbox("default", now=0.0)) == 1


async def test_a_dropped_message_is_never_attempted(store: SqliteStore) -> None:
    """The person's decision wins over the worker."""
    row = await _offered(store)
    assert (await store.resolve_outbox(row.id, action="drop")).state == "dropped"
    with pytest.raises(ConflictError):
        await store.mark_attempting(row.id)
    with pytest.raises(ConflictError):
        await store.mark_unsent(row.id, state="pending", error="")


async def test_a_message_on_its_way_cannot_be_resolved(store: SqliteStore) -> None:
    """Whether it left is not known yet."""
    row = await _offered(store)
    await store.mark_attempting(row.id)
    with pytest.raises(ConflictError, match="attempting"):
        await store.resolve_outbox(row.id, action="drop")


async def test_unknown_rows_and_words_are_refused(store: SqliteStore) -> None:
    """NotFoundError for rows, UsageError for words."""
    row = await _offered(store)
    with pytest.raises(NotFoundError):
        await store.mark_sent(99, ref="")
    with pytest.raises(NotFoundError):
        await store.mark_draft(99, ref="x")
    with pytest.raises(NotFoundError):
        await store.outbox_row(99)
    with pytest.raises(UsageError):
        await store.resolve_outbox(row.id, action="resume")
    with pytest.raises(UsageError):
        await store.mark_unsent(row.id, state="sent", error="")


async def test_outbox_changes_are_told(store: SqliteStore) -> None:
    """Delivery workers listen for ``outbox.queued``."""
    row = await _offered(store)
    await store.mark_attempting(row.id)
    await store.mark_unsent(row.id, state="held", error="unsure")
    await store.resolve_outbox(row.id, action="retry")
    await store.mark_sent(row.id, ref="1")
    events = (await store.events_since(0)).events
    assert [item.kind for item in events] == [
        "outbox.queued",
        "outbox.attempting",
        "outbox.held",
        "outbox.queued",
        "outbox.sent",
    ]
    assert all(item.data["id"] == row.id and item.data["platform"] == "telegram" for item in events)

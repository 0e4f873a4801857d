"""Sessions and their messages."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.sqlite import SqliteStore
from hermesd.store.sqlite.ids import new_id
from hermesd.store.sqlite.rows import cut_body, join_body
from tests.unit.store.samples import say


async def test_a_key_is_bound_to_one_session_until_a_new_one(store: SqliteStore) -> None:
    """``/new`` binds the key to a fresh session and keeps the old one."""
    first = await store.open_session("default", "telegram:1", source="telegram")
    assert await store.open_session("default", "telegram:1", source="telegram") == first
    fresh = await store.new_session("default", "telegram:1", source="telegram")
    assert fresh.id != first.id
    assert (await store.open_session("default", "telegram:1", source="telegram")).id == fresh.id
    assert (await store.session(first.id)).id == first.id


async def test_profiles_do_not_share_sessions(store: SqliteStore) -> None:
    """The same key in another profile is another conversation."""
    one = await store.open_session("default", "k", source="rpc")
    two = await store.open_session("coder", "k", source="rpc")
    assert one.id != two.id
    with pytest.raises(NotFoundError):
        await store.session(one.id, profile="coder")


async def test_a_session_is_found_by_a_unique_prefix(store: SqliteStore) -> None:
    """An ambiguous or empty prefix is refused."""
    one = await store.open_session("default", "a", source="rpc")
    assert (await store.session(one.id[:-1])).id == one.id
    await store.open_session("default", "b", source="rpc")
    with pytest.raises(ConflictError):
        await store.session("s_")
    for wrong in ("", "s_zzzz", "%", "s_" + "\U0010ffff"):
        with pytest.raises(NotFoundError):
            await store.session(wrong)


async def test_sessions_are_listed_by_last_use(store: SqliteStore) -> None:
    """A turn's end moves its session to the front."""
    first = await say(store, "one", key="a")
    second = await say(store, "two", key="b")
    assert [row.id for row in await store.sessions()] == [second, first]
    await say(store, "three", key="a")
    assert [row.id for row in await store.sessions(profile="default", limit=1)] == [first]


async def test_messages_are_the_newest_in_order(store: SqliteStore) -> None:
    """A limit cuts the beginning, not the end; bodies come back whole."""
    session = await say(store, *(f"message {number}" for number in range(5)))
    rows = await store.messages(session, limit=2)
    assert [row.text for row in rows] == ["message 3", "message 4"]
    assert json.loads(rows[0].body) == {"role": "user", "text": "message 3"}


async def test_a_title_is_kept(store: SqliteStore) -> None:
    """And an unknown session cannot be named."""
    session = await say(store, "x")
    await store.set_title(session, "Über Äpfel")
    assert (await store.session(session)).title == "Über Äpfel"
    with pytest.raises(NotFoundError):
        await store.set_title("s_none", "x")


async def test_message_text_is_stored_once(store: SqliteStore) -> None:
    """The body's copy of the text is cut out in the file and put back when read."""
    text = "a rather remarkable sentence"
    session = await say(store, text)
    body = await store._read.in_thread(lambda view: view.value("SELECT body FROM messages"))
    assert text not in body
    (row,) = await store.messages(session)
    assert json.loads(row.body)["text"] == text


@given(st.text(), st.text(), st.text())
def test_a_cut_body_is_made_whole_again(before: str, text: str, after: str) -> None:
    """For any text, and also when the body does not hold the text as JSON."""
    for body in (before + json.dumps(text, ensure_ascii=False) + after, before + text + after, ""):
        cut, at = cut_body(body, text.encode("utf-8", "replace").decode())
        assert join_body(cut, at, text.encode("utf-8", "replace").decode()) == body


def test_ids_sort_by_time_and_are_short() -> None:
    """Seventeen characters, no look-alikes, later ids are greater."""
    ids = [new_id("t") for _ in range(200)]
    assert len(set(ids)) == 200
    assert [found[:11] for found in ids] == sorted(found[:11] for found in ids)
    assert all(len(found) == 17 and not set(found[2:]) & set("ilou") for found in ids)

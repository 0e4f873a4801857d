"""events.*: the exact suffix, then what happens, without gap or duplicate."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests.servers.served import Served, Wire
from tests.waiting import until


async def record(served: Served, count: int, *, profile: str = "") -> list[int]:
    return [(await served.panel.store.record_event("test", subject=str(n), profile=profile)).id for n in range(count)]


async def event(wire: Wire) -> dict[str, Any]:
    message = await wire.message()
    assert message["method"] == "events.event", message
    return message["params"]["event"]


async def events(wire: Wire, count: int) -> list[int]:
    return [(await event(wire))["id"] for _ in range(count)]


async def test_a_watch_sends_what_there_is_and_then_what_happens(served: Served, wire: Wire) -> None:
    """Each revision once, in order, from the one after ``since``."""
    before = await record(served, 5)
    await wire.send("events.watch", {"since": before[1], "limit": 2})
    assert await events(wire, 3) == before[2:]
    after = await record(served, 3)
    assert await events(wire, 3) == after


async def test_events_during_the_backlog_are_neither_lost_nor_doubled(
    served: Served, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits come at the worst moments: after a page was read, before it is answered."""
    store = served.panel.store
    first = await record(served, 4)
    page, added = store.events_since, []

    async def events_since(after_id: int, **more: Any) -> Any:
        found = await page(after_id, **more)
        if len(added) < 10:
            added.extend(await record(served, 1))
        return found

    monkeypatch.setattr(store, "events_since", events_since)
    await wire.send("events.watch", {"limit": 2})
    expected = [*first, *added]
    got = await events(wire, len(first) + 10)
    await record(served, 1)
    got += await events(wire, 1)
    assert got == sorted(set(got))
    assert got[: len(expected)] == [*first, *added][: len(expected)]
    assert len(got) == len(first) + 11


async def test_a_watch_of_one_profile_hears_of_no_other(served: Served, wire: Wire) -> None:
    """In the backlog and live."""
    served.panel.add_profile("coder")
    await record(served, 1)
    mine = await record(served, 1, profile="coder")
    await wire.send("events.watch", {"profile": "coder"})
    assert await events(wire, 1) == mine
    await record(served, 2)
    mine = await record(served, 1, profile="coder")
    assert await events(wire, 1) == mine


async def test_a_revision_that_is_too_old_is_an_error_that_says_where_to_go_on(served: Served, wire: Wire) -> None:
    """Some events after it have been removed."""
    ids = await record(served, 5)
    await served.panel.store.prune(older_than=9e12)
    newest = await record(served, 1)
    error = await wire.error("events.watch", {"since": ids[0]})
    assert error["code"] == -32002
    assert f"since={newest[0]}" in error["data"]["next_step"]
    page = await wire.result("events.list", {"since": ids[0]})
    assert page["truncated"] is True


async def test_from_the_beginning_means_from_the_oldest_there_is(served: Served, wire: Wire) -> None:
    """since 0 asks for nothing that is gone."""
    await record(served, 5)
    await served.panel.store.prune(older_than=9e12)
    newest = await record(served, 2)
    await wire.send("events.watch")
    assert await events(wire, 2) == newest


async def test_a_revision_that_does_not_exist_yet_is_an_error(wire: Wire) -> None:
    """The client has seen another state file: silence would look like peace."""
    assert (await wire.error("events.watch", {"since": 10_000}))["code"] == -32002


async def test_a_watcher_that_leaves_is_forgotten(served: Served, wire: Wire) -> None:
    """Its subscription goes with its connection."""
    subscribers = served.panel.store._subscribers._listeners
    before = {profile: len(listeners) for profile, listeners in subscribers.items()}
    await wire.send("events.watch")
    await record(served, 1)
    await events(wire, 1)
    assert {profile: len(listeners) for profile, listeners in subscribers.items()} != before
    await wire.stream.aclose()
    await until(lambda: not served.server.connections)
    assert {profile: len(listeners) for profile, listeners in subscribers.items()} == before


async def test_a_watcher_that_does_not_read_lags_and_slows_nobody(served: Served, wire: Wire) -> None:
    """It reads what was sent, then an error that says with which revision to go on; another has got everything."""
    lazy = await served.connect()
    await lazy.send("events.watch")
    await wire.send("events.watch")
    ids = await record(served, 1)
    assert await events(wire, 1) == ids
    big = {"text": "x" * 10_000}
    for _ in range(40):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(lambda: served.panel.store.record_event("test", subject="s", data=big))
        ids += await events(wire, 10)
    got = []
    while (message := await lazy.message()).get("method"):
        got.append(message["params"]["event"]["id"])
    assert message["error"]["code"] == -32030
    assert got == ids[: len(got)]
    assert len(got) < len(ids)
    assert message["error"]["data"]["next_step"] == f"watch again with since={got[-1]}"
    assert await lazy.result("rpc.ping") == {}

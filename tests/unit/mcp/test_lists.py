"""Lists of lazy servers are kept over a restart, follow their profile, and go with their server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from hermesd.config.schema import McpServerConfig
from hermesd.home import Home
from hermesd.mcp import lists
from hermesd.mcp.lists import ListCache, Listing
from hermesd.store.sqlite.store import SqliteStore

LAZY = McpServerConfig(command="x", lifecycle="lazy")
LISTING = Listing(tools=[{"name": "add"}], capabilities={"tools": {}})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    home = Home(tmp_path / "home")
    home.create()
    found = SqliteStore.open(home.state_path)
    async with trio.open_nursery() as nursery:
        await nursery.start(found.run)
        yield found
        nursery.cancel_scope.cancel(reason="the test is over")
    found.close()


async def test_a_list_is_kept_for_this_lazy_program_only(store: SqliteStore) -> None:
    """Not for an eager one, not for another program under the name, and not when it is very long."""
    await ListCache(store, "p").keep("s", LAZY, LISTING)
    later = ListCache(store, "p")
    assert await later.get("s", LAZY) == LISTING
    assert await later.get("s", McpServerConfig(command="other", lifecycle="lazy")) is None
    assert await later.get("s", McpServerConfig(command="x")) is None
    assert await later.get("t", LAZY) is None
    await later.keep("s", LAZY, Listing(tools=[{"name": "x" * lists.MAX_BYTES}]))
    assert await later.get("s", LAZY) is None


async def test_lists_follow_a_renamed_profile_and_go_with_a_deleted_one(store: SqliteStore) -> None:
    """Each of them; a second time changes nothing, as after a crash in between."""
    cache = ListCache(store, "p")
    for name in ("s", "t"):
        await cache.keep(name, LAZY, LISTING)
    for _ in range(2):
        await lists.move(store, "p", "q")
    assert await ListCache(store, "p").get("s", LAZY) is None
    assert [await ListCache(store, "q").get(name, LAZY) for name in ("s", "t")] == [LISTING, LISTING]
    await lists.move(store, "q", None)
    assert await ListCache(store, "q").get("t", LAZY) is None


async def test_the_list_of_a_removed_server_is_forgotten(store: SqliteStore) -> None:
    """Those of the others stay."""
    cache = ListCache(store, "p")
    for name in ("s", "t"):
        await cache.keep(name, LAZY, LISTING)
    await cache.forget_all_but({"t": LAZY})
    assert await cache.get("s", LAZY) is None
    assert await cache.get("t", LAZY) == LISTING

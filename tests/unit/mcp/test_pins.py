"""Definitions are pinned over restarts, and a change is noticed whatever it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from hermesd.home import Home
from hermesd.mcp import pins
from hermesd.mcp.pins import Pins, fingerprint
from hermesd.store.sqlite.store import SqliteStore

TOOL = {"name": "add", "description": "adds", "inputSchema": {"type": "object"}, "annotations": {"readOnlyHint": True}}


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


@pytest.mark.parametrize(
    "change",
    [{"description": "adds\u200b"}, {"inputSchema": {"type": "object", "x": 1}}, {"annotations": {}}, {"title": "x"}],
)
async def test_a_changed_definition_is_noticed_after_a_restart(store: SqliteStore, change: dict[str, object]) -> None:
    """Case 14: also a change that nobody would see."""
    assert await Pins(store, "p").check("s", [TOOL]) == {}
    later = Pins(store, "p")
    assert (await later.check("s", [{**TOOL, **change}])).keys() == {"add"}
    assert await later.check("s", []) == {}
    assert (await later.check("s", [{**TOOL, **change}])).keys() == {"add"}
    await later.approve("s", await later.check("s", [{**TOOL, **change}]))
    assert await Pins(store, "p").check("s", [{**TOOL, **change}]) == {}


async def test_servers_and_profiles_have_pins_of_their_own(store: SqliteStore) -> None:
    """And they follow a profile to its new name."""
    await Pins(store, "p").check("s", [TOOL])
    changed = [{**TOOL, "description": "x"}]
    assert await Pins(store, "p").check("other", changed) == {}
    assert await Pins(store, "q").check("s", changed) == {}
    await pins.move(store, "p", "r")
    assert (await Pins(store, "r").check("s", changed)).keys() == {"add"}
    assert await Pins(store, "p").check("s", changed) == {}


def test_the_order_of_keys_does_not_matter() -> None:
    """A server may write its JSON as it likes."""
    assert fingerprint(TOOL) == fingerprint(dict(reversed(TOOL.items())))


async def test_what_is_held_back_is_news_once_for_each_change(store: SqliteStore) -> None:
    """Not at the next start, nor when the tool comes and goes; but when it changes again, or was right meanwhile."""

    async def told(*definitions: dict[str, object]) -> list[str]:
        """What a daemon that has just started tells of."""
        subject = Pins(store, "p")
        held = await subject.check("s", definitions)
        new = subject.untold("s", held)
        await subject.tell("s", held, {str(each["name"]) for each in definitions})
        return new

    bad, worse = {**TOOL, "description": "x"}, {**TOOL, "description": "y"}
    assert await told(TOOL) == []
    assert await told(bad) == ["add"]
    assert await told(bad) == []
    assert await told() == []
    assert await told(bad) == []
    assert await told(worse) == ["add"]
    assert await told(worse) == []
    assert await told(TOOL) == []
    assert await told(worse) == ["add"]
    await pins.move(store, "p", "q")
    assert Pins(store, "q").untold("s", {}) == []
    later = Pins(store, "q")
    assert later.untold("s", await later.check("s", [worse])) == []
    await pins.move(store, "q", None)
    assert await store.get_value(pins.told_name("q")) is None

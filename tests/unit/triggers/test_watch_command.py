"""A command as a watch sees it: run at real instants, bounded, refused or noted when it cannot be."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio

from hermesd.home import Profile
from hermesd.triggers.runner import Surroundings
from hermesd.triggers.schedule import Schedule
from hermesd.triggers.script import OUTPUT_BYTES
from hermesd.triggers.watch import ONLY, NotThisTimeError
from hermesd.triggers.watch_command import CommandSource
from tests.waiting import PATIENCE_S

EVERY_SECOND = Schedule(kind="interval", text="every 1s", zone="UTC", seconds=1, anchor=0.0)


def source(root: Path, text: str) -> CommandSource:
    (root / "scripts").mkdir(exist_ok=True)
    (root / "scripts" / "c.sh").write_text(text)
    around = Surroundings(Profile("default", root), root / "workspace", {}, {"PATH": "/usr/bin:/bin"}, "test:")
    return CommandSource("c.sh", EVERY_SECOND, lambda: around, tag="w")


async def test_it_is_a_reason_to_look_at_each_instant(tmp_path: Path) -> None:
    """By an alarm; nothing is run between them."""
    told: list[float] = []
    twice = trio.Event()

    def changed() -> None:
        told.append(time.time())
        if len(told) == 2:
            twice.set()

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(source(tmp_path, "true").run, changed)
            await twice.wait()
            nursery.cancel_scope.cancel()
    assert int(told[0]) != int(told[1])


async def test_what_it_prints_is_seen_bounded(tmp_path: Path) -> None:
    """In the profile's workspace, without what it writes to stderr."""
    assert await source(tmp_path, "pwd; echo no >&2").look() == {ONLY: f"{tmp_path}/workspace"}
    found = await source(tmp_path, "head -c 1000000 /dev/zero | tr '\\0' x").look()
    assert len(found[ONLY]) < OUTPUT_BYTES + 100
    assert "bytes left out" in found[ONLY]


@pytest.mark.parametrize("text", ["exit 3", "kill -9 $$"])
async def test_one_that_fails_is_no_difference(tmp_path: Path, text: str) -> None:
    """And so is one whose file is gone."""
    with pytest.raises(NotThisTimeError, match=r"the command c\.sh failed"):
        await source(tmp_path, text).look()
    gone = source(tmp_path, "true")
    (tmp_path / "scripts" / "c.sh").unlink()
    with pytest.raises(NotThisTimeError, match="no script"):
        await gone.look()

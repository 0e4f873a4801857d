"""The plugins of a profile as a service: loaded, changed, restarted."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import trio

from hermesd.config.load import load_settings
from hermesd.errors import StoreError
from hermesd.home import Home
from hermesd.plugins.host import PluginHost
from tests.servers.plugin_home import GREET, enabling, write_plugin


class FullDisk:
    """The one method that a host uses of its store, on a disk that is full."""

    async def record_event(self, kind: str, **more: Any) -> None:
        raise StoreError("the disk is full")


class Changes:
    """How often turns were told of new tools."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def changes() -> Changes:
    return Changes()


def host(home: Path, changes: Changes, *names: str) -> PluginHost:
    (home / "config.yaml").write_text(enabling(*names))
    settings = load_settings(Home(home).default_profile)
    return PluginHost(settings, home, cast("Any", FullDisk()), on_tools=changes)


async def test_a_disk_that_notes_no_event_keeps_no_plugin_from_its_work(tmp_path: Path, changes: Changes) -> None:
    """Neither one that loads nor one that does not."""
    write_plugin(tmp_path, "broken", "raise ValueError")
    write_plugin(tmp_path, "greeter")
    found = host(tmp_path, changes, "broken", "greeter")
    async with trio.open_nursery() as nursery:
        await nursery.start(found.run)
        await found.settled()
        assert [tool.name for tool in found.tools()] == ["greet"]
        assert changes.count == 1
        assert found.detail() == "1 tool, 1 failed"
        nursery.cancel_scope.cancel()


async def test_a_service_that_is_started_again_finishes_what_it_had_begun(tmp_path: Path, changes: Changes) -> None:
    """Whoever waits meanwhile waits for that."""
    write_plugin(tmp_path, "greeter", f"import time\ntime.sleep(0.3)\n{GREET}")
    found = host(tmp_path, changes, "greeter")
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(found.run)
            if changes.count or found.plugins["greeter"].state == "loading":
                await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        await nursery.start(found.run)
        await found.settled()
        assert [tool.name for tool in found.tools()] == ["greet"]
        nursery.cancel_scope.cancel()


async def test_names_that_stand_twice_or_are_disabled_are_loaded_once_or_not_at_all(
    tmp_path: Path, changes: Changes
) -> None:
    """``disabled`` beats ``enabled``."""
    write_plugin(tmp_path, "greeter")
    write_plugin(tmp_path, "other", GREET.replace("greet", "salute"))
    (tmp_path / "config.yaml").write_text(enabling("greeter", "greeter", "other", disabled=["other"]))
    settings = load_settings(Home(tmp_path).default_profile)
    found = PluginHost(settings, tmp_path, cast("Any", FullDisk()), on_tools=changes)
    async with trio.open_nursery() as nursery:
        await nursery.start(found.run)
        await found.settled()
        assert [tool.name for tool in found.tools()] == ["greet"]
        nursery.cancel_scope.cancel()


async def test_one_that_hangs_is_only_tried_again_when_that_is_asked_for(tmp_path: Path, changes: Changes) -> None:
    """Every attempt may cost a thread, and configurations are reloaded often; what has failed is tried each time."""
    tries = tmp_path / "tries"
    said = f"import time\nwith open({str(tries)!r}, 'a') as file:\n    file.write(__name__[14] + ' ')\n"
    write_plugin(tmp_path, "hangs", f"{said}time.sleep(4)\n")
    write_plugin(tmp_path, "fails", f"{said}raise ValueError\n")
    (tmp_path / "config.yaml").write_text(enabling("hangs", "fails", load_timeout=1))
    profile = Home(tmp_path).default_profile
    found = PluginHost(load_settings(profile), tmp_path, cast("Any", FullDisk()), on_tools=changes)
    async with trio.open_nursery() as nursery:
        await nursery.start(found.run)
        await found.settled()
        plugin = found.plugins["hangs"]
        assert plugin.error is not None
        assert "enable it again" in plugin.error.next_step
        for timeout in (120, 7):
            (tmp_path / "config.yaml").write_text(enabling("hangs", "fails", load_timeout=1, timeout=timeout))
            found.apply(load_settings(profile))
            await found.settled()
        assert sorted(tries.read_text().split()) == ["f", "f", "f", "h"]
        found.reload("hangs")
        await found.settled()
        assert tries.read_text().split().count("h") == 2
        nursery.cancel_scope.cancel()

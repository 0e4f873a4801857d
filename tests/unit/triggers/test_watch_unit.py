"""Units on a real message bus, behind which stands a fake systemd that says so in its name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from hermesd.errors import ConfigError
from hermesd.triggers.watch import ONLY
from hermesd.triggers.watch_unit import UnitSource, bus_address
from tests.servers.fake_systemd import bus, systemd
from tests.waiting import PATIENCE_S


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with bus(tmp_path) as found:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", found)
        yield found


async def refused(source: UnitSource) -> ConfigError:
    """What it says when it cannot work."""
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run, lambda: None)
    [error] = caught.value.exceptions
    assert isinstance(error, ConfigError)
    return error


async def test_a_state_is_known_at_the_start_and_told_when_it_changes(address: str) -> None:
    """By the signal alone; other units' signals do not concern it."""
    async with systemd(address, web="active", other="active") as fake:
        told = trio.Event()
        source = UnitSource("web.service", "system")
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                await nursery.start(source.run, told.set)
                assert await source.look() == {ONLY: "active"}
                await fake.set("other.service", "failed")
                await fake.set("web.service", "failed")
                await told.wait()
                assert await source.look() == {ONLY: "failed"}
                nursery.cancel_scope.cancel()


async def test_a_unit_that_is_not_there_is_refused(address: str) -> None:
    """With its name."""
    async with systemd(address, web="active"):
        with trio.fail_after(PATIENCE_S):
            error = await refused(UnitSource("nope.service", "system"))
    assert error.what == "there is no unit nope.service"
    assert "list-unit-files" in error.next_step


async def test_a_bus_without_systemd_is_refused(address: str) -> None:
    """The bus says that nobody has the name."""
    with trio.fail_after(PATIENCE_S):
        error = await refused(UnitSource("web.service", "system"))
    assert "systemd does not answer" in error.what


async def test_no_bus_at_all_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in most containers."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/nothing")
    with trio.fail_after(PATIENCE_S):
        assert "there is no system bus" in (await refused(UnitSource("web.service", "system"))).what
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with trio.fail_after(PATIENCE_S):
        assert "there is no user bus" in (await refused(UnitSource("web.service", "user"))).what


def test_buses_are_where_the_specification_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless the environment names others."""
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert bus_address("system") == "unix:path=/run/dbus/system_bus_socket"
    assert bus_address("user") == "unix:path=/run/user/7/bus"


async def test_a_bus_that_goes_away_ends_it_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it is tried again."""
    with contextlib.ExitStack() as running:
        address = running.enter_context(bus(tmp_path))
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", address)
        async with systemd(address, web="active"):
            with trio.fail_after(PATIENCE_S), pytest.raises(ExceptionGroup) as caught:
                async with trio.open_nursery() as nursery:
                    await nursery.start(UnitSource("web.service", "system").run, lambda: None)
                    running.close()
    [error] = caught.value.exceptions
    assert "the system bus is gone" in str(error)

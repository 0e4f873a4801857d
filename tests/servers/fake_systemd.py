"""A fake org.freedesktop.systemd1 on a private bus of dbus-daemon(1): it has units whose states a test sets.

The bus and the protocol are real; the service manager behind the name is not.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from jeepney import DBusAddress, HeaderFields, MessageType, new_error, new_method_return, new_signal
from jeepney.bus_messages import message_bus
from jeepney.io.trio import DBusConnection, open_dbus_connection

NAME = "org.freedesktop.systemd1"
UNIT = f"{NAME}.Unit"

CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/><allow own="*"/>
  </policy>
</busconfig>
"""


@contextlib.contextmanager
def bus(directory: Path) -> Iterator[str]:
    """A private message bus; its address."""
    program = shutil.which("dbus-daemon")
    if program is None:
        pytest.skip("dbus-daemon is not installed here")
    socket = directory / "bus"
    config = directory / "bus.conf"
    config.write_text(CONFIG.format(path=socket))
    process = subprocess.Popen(
        [program, f"--config-file={config}", "--nofork", "--print-address=1"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline(), "it listens once it prints its address"
        yield f"unix:path={socket}"
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


@dataclass
class FakeSystemd:
    """The fake manager: service → state."""

    connection: DBusConnection
    states: dict[str, str]

    async def serve(self) -> None:
        """Answer until the bus is gone."""
        while True:
            try:
                message = await self.connection.receive()
            except (trio.EndOfChannel, trio.BrokenResourceError):
                return
            if message.header.message_type is MessageType.method_call:
                await self.connection.send(self._answer(message))

    def _answer(self, message):
        member = message.header.fields[HeaderFields.member]
        if member == "Subscribe":
            return new_method_return(message)
        if member == "LoadUnit":
            return new_method_return(message, "o", (path_of(message.body[0]),))
        if member == "Get":
            _, name = message.body
            unit = next((u for u in self.states if path_of(u) == message.header.fields[HeaderFields.path]), None)
            if name == "LoadState":
                return new_method_return(message, "v", (("s", "loaded" if unit else "not-found"),))
            return new_method_return(message, "v", (("s", self.states[unit]),))
        return new_error(message, "org.freedesktop.DBus.Error.UnknownMethod")

    async def set(self, unit: str, state: str) -> None:
        """Let a unit come into a state, and tell subscribers."""
        self.states[unit] = state
        address = DBusAddress(path_of(unit), interface="org.freedesktop.DBus.Properties")
        body = (UNIT, {"ActiveState": ("s", state)}, [])
        await self.connection.send(new_signal(address, "PropertiesChanged", "sa{sv}as", body))


def path_of(unit: str) -> str:
    """As systemd escapes names in paths."""
    return "/org/freedesktop/systemd1/unit/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in unit)


@contextlib.asynccontextmanager
async def systemd(address: str, **states: str) -> AsyncIterator[FakeSystemd]:
    """The fake manager with some services, on a bus."""
    connection = await open_dbus_connection(address)
    async with connection, trio.open_nursery() as nursery:
        async with connection.router() as router:
            await router.send_and_get_reply(message_bus.RequestName(NAME))
        fake = FakeSystemd(connection, {f"{name}.service": state for name, state in states.items()})
        nursery.start_soon(fake.serve)
        yield fake
        nursery.cancel_scope.cancel()

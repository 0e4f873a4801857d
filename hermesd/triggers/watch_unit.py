"""A systemd unit as a watch sees it: ActiveState over D-Bus (org.freedesktop.systemd1(5)), told by signals.

The manager sends PropertiesChanged to those who have called Subscribe; nothing is asked again and again.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import trio

from hermesd.errors import ConfigError
from hermesd.triggers.watch import ONLY

if TYPE_CHECKING:
    from collections.abc import Callable

    from jeepney import Message  # type: ignore[import-untyped]  # it has no annotations
    from jeepney.io.trio import DBusConnection  # type: ignore[import-untyped]  # as above

    from hermesd.rpc.wire_watch import Bus
    from hermesd.store.watches import Changes

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
MANAGER = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
PROPERTIES = "org.freedesktop.DBus.Properties"
UNIT_INTERFACE = f"{MANAGER}.Unit"
CONNECT_S = 10.0


class UnitSource:
    """``triggers.watch.Source``. The connection belongs to ``run``."""

    def __init__(self, unit: str, bus: Bus) -> None:
        self._unit = unit
        self._bus = bus
        self._state = ""
        self._path = ""
        self._changed: Callable[[], None] = lambda: None

    async def run(self, changed: Callable[[], None], *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled. Raises ConfigError when there is no bus, no systemd, no such unit, or the bus is gone."""
        from jeepney.io.trio import open_dbus_connection

        self._changed = changed
        try:
            with trio.fail_after(CONNECT_S):
                connection = await open_dbus_connection(bus_address(self._bus))
        except (OSError, KeyError, ValueError, RuntimeError, trio.BrokenResourceError, trio.EndOfChannel) as error:
            raise self._absent(f"there is no {self._bus} bus{_why(error)}") from None
        except trio.TooSlowError:
            raise self._absent(f"the {self._bus} bus does not answer") from None
        try:
            with trio.fail_after(CONNECT_S):
                await self._subscribe(connection)
            task_status.started()
            while True:
                self._hear(await connection.receive())
        except (trio.BrokenResourceError, trio.EndOfChannel, trio.TooSlowError):
            raise self._absent(f"the {self._bus} bus is gone") from None
        finally:
            await connection.aclose()

    async def _subscribe(self, connection: DBusConnection) -> None:
        await self._call(connection, MANAGER, PATH, "Subscribe", interface=f"{MANAGER}.Manager")
        reply = await self._call(connection, MANAGER, PATH, "LoadUnit", self._unit, interface=f"{MANAGER}.Manager")
        self._path = str(reply.body[0])
        rule = f"type='signal',sender='{MANAGER}',interface='{PROPERTIES}',path='{self._path}'"
        await self._call(connection, "org.freedesktop.DBus", "/org/freedesktop/DBus", "AddMatch", rule)
        if await self._property(connection, "LoadState") == "not-found":
            step = f"systemctl {'--user ' if self._bus == 'user' else ''}list-unit-files"
            raise ConfigError(f"there is no unit {self._unit}", where=f"{self._bus} systemd", next_step=step)
        self._state = await self._property(connection, "ActiveState")

    async def _property(self, connection: DBusConnection, name: str) -> str:
        reply = await self._call(connection, MANAGER, self._path, "Get", UNIT_INTERFACE, name, interface=PROPERTIES)
        _, value = reply.body[0]
        return str(value)

    async def _call(
        self, connection: DBusConnection, name: str, path: str, method: str, *texts: str, interface: str = ""
    ) -> Message:
        """Call a method that takes texts; signals that come before its answer are heard."""
        from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call

        address = DBusAddress(path, bus_name=name, interface=interface or name)
        serial = next(connection.outgoing_serial)
        message = new_method_call(address, method, "s" * len(texts) or None, texts)
        await connection.send(message, serial=serial)
        while True:
            answer = await connection.receive()
            if answer.header.fields.get(HeaderFields.reply_serial) != serial:
                self._hear(answer)
            elif answer.header.message_type is MessageType.error:
                reason = str(answer.header.fields.get(HeaderFields.error_name, ""))
                raise self._absent(f"systemd does not answer for {self._unit}: {reason[:200]}")
            else:
                return answer

    def _hear(self, message: Message) -> None:
        """Take a change of the unit's state out of a signal; anything else is passed over."""
        from jeepney import HeaderFields, MessageType

        fields = message.header.fields
        if message.header.message_type is not MessageType.signal or fields.get(HeaderFields.path) != self._path:
            return
        if fields.get(HeaderFields.member) != "PropertiesChanged" or message.body[0] != UNIT_INTERFACE:
            return
        properties: dict[str, tuple[str, Any]] = message.body[1]  # Any: values of any D-Bus type
        if "ActiveState" in properties:
            self._state = str(properties["ActiveState"][1])
            self._changed()

    async def look(self) -> dict[str, str]:
        """The state as last told."""
        await trio.lowlevel.checkpoint()
        return {ONLY: self._state}

    async def own(self, changes: Changes, since: float, until: float) -> Changes:
        """Nobody can tell since when the state is another: all of it."""
        del since, until
        await trio.lowlevel.checkpoint()
        return changes

    def _absent(self, what: str) -> ConfigError:
        step = "set XDG_RUNTIME_DIR for the daemon" if self._bus == "user" else "watch units where systemd runs"
        return ConfigError(f"units cannot be watched here: {what}", next_step=step)


def _why(error: Exception) -> str:
    """What the system said, if it said something."""
    return f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""


def bus_address(bus: Bus) -> str:
    """Where the bus listens (D-Bus specification, "Well-known Message Bus Instances"). Raises KeyError."""
    if bus == "system":
        return os.environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
    return os.environ.get("DBUS_SESSION_BUS_ADDRESS") or f"unix:path={os.environ['XDG_RUNTIME_DIR']}/bus"

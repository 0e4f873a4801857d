"""Client connections over a restart: idle ones are kept by the process supervisor, and taken up by the next process.

A client notices nothing. What it sends meanwhile waits in its connection, as whoever connects waits in the listener.
When no process follows, the supervisor closes what it keeps, and the client sees the end.
"""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

from hermesd.rpc.codec import JSON, MSGPACK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermesd.deploy.inherited import Descriptor
    from hermesd.deploy.notify import Notifier
    from hermesd.rpc.codec import Encoding

PREFIX = "hermesd-client-"
MOST = 500
"""The unit's FileDescriptorStoreMax less some; clients beyond it have to connect again."""

_ENCODINGS: dict[str, Encoding | None] = {
    f"{PREFIX}json": JSON,
    f"{PREFIX}msgpack": MSGPACK,
    f"{PREFIX}new": None,  # it has said nothing yet
}


class Handover:
    """Between the process before, the supervisor, and the process to come. ``is_open`` while this process ends."""

    def __init__(self, notifier: Notifier) -> None:
        self.is_open = False
        self._notifier = notifier
        self._taken: list[tuple[socket.socket, Encoding | None]] = []
        self._kept = 0

    def sort_out(self, inherited: Iterable[Descriptor]) -> list[Descriptor]:
        """Take the clients of the process before; returns the other descriptors.

        The supervisor is told to forget them: as long as it holds one, its client would not see us close it.
        """
        others = []
        for descriptor in inherited:
            if descriptor.name not in _ENCODINGS:
                others.append(descriptor)
            elif (connection := _connected(descriptor.fd)) is not None:
                self._taken.append((connection, _ENCODINGS[descriptor.name]))
        if self._taken:
            for name in _ENCODINGS:
                self._notifier.unstore(name)
        return others

    def take(self) -> list[tuple[socket.socket, Encoding | None]]:
        """The clients of the process before with the encoding they have chosen, once."""
        taken, self._taken = self._taken, []
        return taken

    def keep(self, connection: socket.socket, encoding: Encoding | None) -> None:
        """Give an idle connection to the supervisor; the caller closes its own copy."""
        if self._kept < MOST:
            self._kept += 1
            name = next(name for name, known in _ENCODINGS.items() if known is encoding)
            self._notifier.store(name, [connection.fileno()])


def _connected(fd: int) -> socket.socket | None:
    """A descriptor as a connected Unix stream socket; closed, and None, when it is none or its client has gone."""
    found = socket.socket(fileno=fd)
    with contextlib.suppress(OSError):
        if found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM:
            found.getpeername()
            return found
    found.close()
    return None

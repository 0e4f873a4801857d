"""The RPC service: accepts clients on the Unix socket and gives each a task."""

from __future__ import annotations

import errno
import logging
from typing import TYPE_CHECKING

import trio

from hermesd.rpc.connection import Connection
from hermesd.rpc.peer import credentials
from hermesd.rpc.shared import Shared

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from hermesd.config.schema import RpcConfig
    from hermesd.rpc.calls import AuditRecord
    from hermesd.rpc.codec import Encoding
    from hermesd.rpc.context import Daemon
    from hermesd.rpc.handover import Handover
    from hermesd.rpc.listen import Listener

ACCEPTS_IN_A_ROW = 64
FULL_RETRY_S = 1.0
"""How long a full descriptor table is waited for, unless one of our own descriptors is given back before."""

_FULL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

logger = logging.getLogger("hermesd.rpc")


class RpcServer:
    """A Service and Drainable, which may be run again after it ended. It does not own the listener.

    ``rpc_settings`` is asked for each request and must return the same object until the configuration changes;
    ``audit`` must not block.
    """

    def __init__(
        self,
        daemon: Daemon,
        listener: Listener,
        *,
        rpc_settings: Callable[[], RpcConfig],
        audit: Callable[[AuditRecord], None],
        handover: Handover | None = None,
    ) -> None:
        from hermesd.rpc.methods import ROUTES

        self._listener = listener
        self._handover = handover
        self._rpc_settings = rpc_settings
        self._shared = Shared(daemon, ROUTES, rpc_settings=rpc_settings, audit=audit)
        self._accepting = trio.CancelScope()
        self._closed = trio.Event()
        self._is_full = False
        self.connections = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises OSError when the socket itself breaks, ConfigError for an unknown group."""
        self.apply_settings()
        self._accepting = trio.CancelScope()
        self._shared.is_stopping = False
        async with trio.open_nursery() as nursery:
            task_status.started()
            for connection, encoding in self._handover.take() if self._handover else ():
                nursery.start_soon(self._serve, connection, encoding)
            with self._accepting:
                await self._accept(nursery)
            await trio.sleep_forever()

    async def drain(self) -> None:
        """Accept nobody, end the streams with a word about it, and wait for the other calls under way."""
        self._accepting.cancel(reason="the server drains")
        await self._shared.stop()

    def apply_settings(self) -> None:
        """After a reload: let the configured group reach the socket. Raises ConfigError."""
        self._listener.share(self._rpc_settings().group)

    def detail(self) -> str:
        """Words for the tree's line."""
        return f"{self.connections} connected" if self.connections else ""

    async def _accept(self, nursery: trio.Nursery) -> None:
        in_a_row = 0
        while True:
            try:
                accepted, _ = self._listener.socket.accept()
            except BlockingIOError:
                self._is_full = False  # everyone who waited has been accepted
                await trio.lowlevel.wait_readable(self._listener.socket)
                in_a_row = 0
            except ConnectionAbortedError:
                pass  # gone before it was accepted
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                await self._wait_for_descriptor(error)
            else:
                nursery.start_soon(self._serve, accepted)
                in_a_row += 1
                if in_a_row >= ACCEPTS_IN_A_ROW:
                    await trio.lowlevel.checkpoint()
                    in_a_row = 0

    async def _serve(self, accepted: socket.socket, encoding: Encoding | None = None) -> None:
        accepted.setblocking(False)
        self.connections += 1
        try:
            connection = Connection(self._shared, accepted, credentials(accepted), encoding=encoding)
            try:
                await connection.serve()
            finally:
                if self._handover is not None and self._handover.is_open and connection.is_idle:
                    self._handover.keep(accepted, connection.encoding)
        finally:
            accepted.close()
            self.connections -= 1
            self._closed.set()

    async def _wait_for_descriptor(self, error: OSError) -> None:
        """The kernel keeps who is waiting; the log hears of it once, not for each of them."""
        if not self._is_full:
            self._is_full = True
            logger.warning("no more connections can be accepted: %s; raise the descriptor limit", error.strerror)
        self._closed = trio.Event()
        with trio.move_on_after(FULL_RETRY_S):
            await self._closed.wait()

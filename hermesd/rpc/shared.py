"""What the connections of one server have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.rpc.peer import Roles

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermesd.config.schema import RpcConfig
    from hermesd.errors import HermesError
    from hermesd.rpc.calls import AuditRecord
    from hermesd.rpc.connection import LiveStream
    from hermesd.rpc.context import Daemon
    from hermesd.rpc.invoke import Call
    from hermesd.rpc.routes import Route


class Shared:
    """The daemon, the routes, the roles, the audit log, and what is under way."""

    def __init__(
        self,
        daemon: Daemon,
        routes: Mapping[str, Route],
        *,
        rpc_settings: Callable[[], RpcConfig],
        audit: Callable[[AuditRecord], None],
    ) -> None:
        self.daemon = daemon
        self.routes = routes
        self.roles = Roles(rpc_settings)
        self.is_stopping = False
        self.streams: set[LiveStream] = set()
        self._rpc_settings = rpc_settings
        self._audit = audit
        self._in_flight = 0
        self._idle: trio.Event | None = None

    def audit(self, record: AuditRecord) -> None:
        """Write a line to the audit log, if the configuration wants one."""
        if self._rpc_settings().audit:
            self._audit(record)

    def audit_failure(self, call: Call, error: HermesError) -> None:
        """A mutating call that was allowed has failed."""
        if call.route.method.mutating:
            self.audit(call.audited("failed", error.what))

    def call_started(self) -> None:
        """A call with a task of its own begins."""
        self._in_flight += 1

    def call_ended(self) -> None:
        """Such a call is over, its answer sent or its client gone."""
        self._in_flight -= 1
        if self._idle is not None and not self._in_flight:
            self._idle.set()

    async def stop(self) -> None:
        """Start no more slow calls, end the streams, and wait for what is under way."""
        self.is_stopping = True
        for stream in tuple(self.streams):
            stream.cut_for_stop()
        if self._in_flight:
            self._idle = trio.Event()
            await self._idle.wait()

"""RPC methods called within the daemon, for its MCP endpoint: the same table, checks and audit, without a socket."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from hermesd.errors import DeniedError, HermesError, UsageError
from hermesd.rpc.calls import AuditRecord, Caller, Stream
from hermesd.rpc.invoke import stopping, subject_of
from hermesd.rpc.peer import RANK, Peer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from hermesd.rpc.context import Daemon
    from hermesd.rpc.routes import Route
    from hermesd.rpc.wire import Params, Result, Role

DELIVERED_S = 5.0

logger = logging.getLogger("hermesd.rpc")


class Unheard(Stream):
    """A stream of which only the result counts."""

    def offer(self, update: Result) -> None:
        """Nobody listens."""

    async def send(self, update: Result) -> None:
        """Nobody listens."""
        await trio.lowlevel.checkpoint()


class InProcess:
    """Calls as ``role``, and only ``methods``. ``audit`` must not block; it is given what the socket's server gives."""

    def __init__(
        self,
        daemon: Daemon,
        *,
        methods: Collection[str],
        role: Role,
        audit: Callable[[AuditRecord], None],
    ) -> None:
        self._daemon = daemon
        self._methods = frozenset(methods)
        self._role: Role = role
        self._audit = audit
        self._peer = Peer(os.getpid(), os.geteuid(), os.getegid())
        self._waiting: dict[trio.CancelScope, Stream] = {}
        self._is_stopping = False

    async def call(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:  # JSON
        """One call, its result as plain data. Raises HermesError; a RestartError says how to go on after a stop."""
        route = self._permit(method)
        try:
            typed = msgspec.convert(dict(params), route.method.params)
        except msgspec.ValidationError as error:
            raise UsageError(f"bad params: {error}", where=method, next_step="see docs/rpc.md") from error
        if self._is_stopping:
            raise stopping("ask again after the restart")
        if route.method.mutating:
            self._note(route, typed, "allowed")
        try:
            result = await self._run(route, typed)
        except HermesError as error:
            if route.method.mutating:
                self._note(route, typed, "failed", error.what)
            raise
        plain: dict[str, Any] = msgspec.to_builtins(result)
        return plain

    def stop(self) -> None:
        """Take no calls any more, and end the streams under way with a word about it."""
        self._is_stopping = True
        for scope in tuple(self._waiting):
            scope.cancel(reason="the daemon is stopping")

    def _permit(self, method: str) -> Route:
        from hermesd.rpc.methods import ROUTES

        route = ROUTES.get(method)
        if route is None or method not in self._methods or RANK[self._role] < route.rank:
            self._audit(
                AuditRecord(method=method, uid=self._peer.uid, pid=self._peer.pid, role=self._role, outcome="denied")
            )
            raise DeniedError(f"{method} is not for other agents", where=method, next_step="ask the owner to do it")
        return route

    async def _run(self, route: Route, params: Params) -> msgspec.Struct:
        caller = Caller(self._daemon, self._peer)
        caller.role = self._role
        if route.kind == "stream":
            return await self._follow(route, params, caller)
        answer = route.handler(caller, params)
        found: msgspec.Struct = answer if route.kind == "fast" else await answer
        return found

    async def _follow(self, route: Route, params: Params, caller: Caller) -> msgspec.Struct:
        stream = Unheard(0)
        result: msgspec.Struct | None = None
        with trio.CancelScope() as scope:
            self._waiting[scope] = stream
            try:
                result = await route.handler(caller, params, stream)
            finally:
                del self._waiting[scope]
        if result is None:
            raise stopping(stream.resume)
        if stream.delivered is not None:
            try:
                with trio.move_on_after(DELIVERED_S, shield=True):
                    await stream.delivered()
            except HermesError as error:
                logger.warning("%s: what follows its answer failed: %s", route.method.name, error)
        return result

    def _note(self, route: Route, params: Params, outcome: str, error: str = "") -> None:
        self._audit(
            AuditRecord(
                method=route.method.name,
                uid=self._peer.uid,
                pid=self._peer.pid,
                role=self._role,
                outcome=outcome,
                subject=subject_of(params),
                error=error,
            )
        )

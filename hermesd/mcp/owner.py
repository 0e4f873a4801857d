"""The task that owns a server's sessions: connect → ready → serve until it ends → back off → again, for ever.

It enters, serves and leaves each of the SDK's contexts itself, innermost first; anything else is the death of the
whole process (TrioInternalError).
"""

from __future__ import annotations

import logging
import math
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from hermesd.errors import ConfigError, HermesError
from hermesd.mcp.backoff import Backoff, starts
from hermesd.mcp.errors import McpError
from hermesd.mcp.session import client_info, list_tools, meaning, negotiate, plain
from hermesd.tools.environment import child_environment
from hermesd.tools.terminal.local import Spawn

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from mcp import ClientSession

    from hermesd.config.schema import McpServerConfig
    from hermesd.mcp.link import Link
    from hermesd.mcp.server import McpServer

log = logging.getLogger("hermesd.mcp")

PROVEN_S = 60.0
COALESCE_S = 0.3
FAREWELL_S = 0.5
AUTH_PROBE_S = 300.0
LAZY_IDLE_S = 300.0
DEMAND_S = 0.25  # somebody waits for an HTTP server: a connect costs next to nothing, so ask this often
PING_S = 10.0


class Owner:
    """Runs one server's life. ``kick`` ends the session, or the wait, and connects at once."""

    def __init__(self, server: McpServer, rng: random.Random) -> None:
        self.server = server
        self.backoff = Backoff(rng)
        self._kick = trio.Event()
        self._stale = trio.Event()
        self._resting = server.config.lifecycle == "lazy" and bool(server.tools)

    def kick(self) -> None:
        """Start afresh, now."""
        self.backoff.proven()
        self._resting = False
        self._kick.set()

    async def run(self) -> None:
        """Until cancelled."""
        server = self.server
        if not server.config.enabled:
            server.to("disabled")
            await trio.sleep_forever()
        self._resting = server.config.lifecycle == "lazy" and bool(server.tools)
        while True:
            if self._resting and not server.waiting:
                await self._rest()
            self._resting = False
            self._kick = trio.Event()
            server.to("connecting")
            failure = await self._life()
            if failure is not None:
                server.restarts += 1
                await self._back_off(failure)

    async def _rest(self) -> None:
        """Wait for a caller."""
        self.server.demand = trio.Event()
        self.server.to("idle")
        async with trio.open_nursery() as nursery:
            _first(nursery, self._kick)
            _first(nursery, self.server.demand)

    # -- one life ------------------------------------------------------------------------------------------------
    async def _life(self) -> Exception | None:
        """From the start of a connection to its end; returns what ended it, unless that was on purpose."""
        failures: list[Exception] = []
        try:
            async with trio.open_nursery() as calls:
                try:
                    await self._connect(calls)
                finally:
                    self.server.shut()
                    calls.cancel_scope.deadline = trio.current_time() + FAREWELL_S
        except* (OSError, HermesError, ValueError, RuntimeError) as group:
            failures.append(_leaf(group))
        except* Exception as group:  # the SDK's and the HTTP library's errors, of all kinds: each is this server's only
            log.info("%s: %s", self.server.where, _leaf(group), exc_info=group)
            failures.append(_leaf(group))
        self.server.pid = 0
        return failures[0] if failures else None

    async def _connect(self, calls: trio.Nursery) -> None:
        """Connect within connect_timeout and serve; raises what went wrong."""
        config = self.server.config
        if not config.command and not config.url:
            where = f"mcp_servers.{self.server.name}"
            raise ConfigError("it has neither command nor url", where=where, next_step="set one in config.yaml")
        give_back = await starts.take(calls)
        self._quieten()
        try:
            with trio.CancelScope(deadline=trio.current_time() + config.connect_timeout) as scope:
                async with self._link(config) as link:
                    link.abrupt = True  # until it has answered, it is not asked politely
                    async with self._session(link) as session:
                        await self._greet(session, link)
                        scope.deadline = math.inf
                        link.abrupt = False
                        give_back()
                        self.server.open(session, link, calls)
                        await self._serve(session, link)
                        self.server.shut()
        finally:
            give_back()
        if scope.cancelled_caught:
            raise McpError(f"no session within {config.connect_timeout:g} s", kind="timeout", where=self.server.where)

    @staticmethod
    def _quieten() -> None:
        """The SDK logs session ids, and every message that it cannot use."""
        for name in ("mcp", "client", "httpx2"):
            logging.getLogger(name).setLevel(logging.ERROR)

    @asynccontextmanager
    async def _link(self, config: McpServerConfig) -> AsyncIterator[Link]:
        server = self.server
        if config.url:
            from hermesd.mcp.http import http_link

            async with http_link(config, auth=server.auth, service=server.where) as link:
                yield link
        else:
            from hermesd.mcp.stdio import stdio_link

            async with stdio_link(self._spawn(config), service=server.where, cap=config.max_message_bytes) as link:
                server.pid = link.process.pid
                yield link

    def _spawn(self, config: McpServerConfig) -> Spawn:
        cwd = Path(config.cwd).expanduser() if config.cwd else self.server.cwd
        env = child_environment(os.environ, extra=config.env)
        return Spawn([config.command, *config.args], cwd, env, self.server.tag)

    @asynccontextmanager
    async def _session(self, link: Link) -> AsyncIterator[ClientSession]:
        from mcp import ClientSession

        callbacks = self.server.callbacks(self.server) if self.server.callbacks else {}
        async with ClientSession(
            link.read, link.write, message_handler=self._hear, client_info=client_info(), **callbacks
        ) as session:
            yield session

    async def _greet(self, session: ClientSession, link: Link) -> None:
        """Agree on a version and learn what the server has."""
        from mcp.shared.exceptions import MCPError

        server = self.server
        try:
            await negotiate(session, server.config.era)
            server.era = session.protocol_version or ""
            server.server_info = plain(session.server_info) if session.server_info else {}
            server.capabilities = plain(session.server_capabilities) if session.server_capabilities else {}
            server.instructions = session.instructions or ""
            self._learn(await list_tools(session))
        except MCPError as error:
            if link.why:
                raise McpError(f"the server {link.why}{_said(link)}", kind="down", where=server.where) from None
            raise meaning(error, server.name, link) from None

    def _learn(self, tools: list[dict[str, Any]]) -> None:
        if tools != self.server.tools:
            self.server.tools = tools
            self.server.tell("tools")

    async def _hear(self, message: object) -> None:
        """Notifications of the server; async because the SDK awaits it."""
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self._stale.set()

    # -- serving ---------------------------------------------------------------------------------------------------
    async def _serve(self, session: ClientSession, link: Link) -> None:
        """Until the link is lost, a kick, or too long without use; raises McpError (down) for the first."""
        config = self.server.config
        idle_s = config.idle_timeout_seconds or (LAZY_IDLE_S if config.lifecycle == "lazy" else 0.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_lost, link, nursery.cancel_scope)
            _first(nursery, self._kick)
            nursery.start_soon(self._prove)
            nursery.start_soon(self._keep_listed, session)
            if idle_s:
                nursery.start_soon(self._until_idle, idle_s, nursery.cancel_scope)
            if config.url and config.keepalive_interval:
                nursery.start_soon(self._keep_alive, session, link)
        if link.lost.is_set():
            raise McpError(f"the server {link.why}{_said(link)}", kind="down", where=self.server.where)

    async def _until_lost(self, link: Link, scope: trio.CancelScope) -> None:
        await link.lost.wait()
        self.server.shut()
        scope.cancel()

    async def _prove(self) -> None:
        await trio.sleep(PROVEN_S)
        self.backoff.proven()

    async def _until_idle(self, idle_s: float, scope: trio.CancelScope) -> None:
        server = self.server
        while server.active_calls or trio.current_time() < server.last_use + idle_s:
            now = trio.current_time()
            await trio.sleep_until(max(server.last_use + idle_s, now + (idle_s if server.active_calls else 0.0)))
        self._resting = True
        server.shut()
        scope.cancel()

    async def _keep_listed(self, session: ClientSession) -> None:
        """List the tools again after list_changed, once for a burst."""
        from mcp.shared.exceptions import MCPError

        while True:
            await self._stale.wait()
            await trio.sleep(COALESCE_S)
            self._stale = trio.Event()
            try:
                self._learn(await list_tools(session))
            except (MCPError, ValueError) as error:
                log.warning("%s: its tools could not be listed again: %s", self.server.where, error)

    async def _keep_alive(self, session: ClientSession, link: Link) -> None:
        """Ask an HTTP server for a sign of life; without one the session is lost. Ping is not in every era."""
        from mcp.shared.exceptions import MCPError
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        while True:
            await trio.sleep(self.server.config.keepalive_interval)
            ask = session.list_tools if self.server.era in MODERN_PROTOCOL_VERSIONS else session.send_ping
            with trio.move_on_after(PING_S) as scope:
                try:
                    await ask()
                except MCPError as error:
                    log.info("%s: %s", self.server.where, error)
            if scope.cancelled_caught:
                link.why = link.why or f"gave no sign of life for {PING_S:g} s"
                link.lost.set()

    # -- between lives ---------------------------------------------------------------------------------------------
    async def _back_off(self, failure: Exception) -> None:
        """Wait as the failure demands: a person for a sign-in or a wrong configuration, else a growing time."""
        server = self.server
        server.last_error = failure.what if isinstance(failure, HermesError) else str(failure) or repr(failure)
        if isinstance(failure, ConfigError):
            server.to("failed")
            await self._kick.wait()
            return
        delay = self.backoff.next_delay_s()
        if isinstance(failure, McpError) and failure.needs_reauth:
            delay = AUTH_PROBE_S
        server.next_try_at = time.time() + delay
        log.info(
            "%s: %s; next try in %.1f s", server.where, server.last_error, delay, extra={"fields": {"delay_s": delay}}
        )
        if delay:
            server.to("auth" if delay == AUTH_PROBE_S else "backoff")
            with trio.move_on_after(delay):
                await self._pause()
        server.next_try_at = 0.0

    async def _pause(self) -> None:
        """Until a kick; for an HTTP server that somebody waits for, not for long."""
        server = self.server
        if not server.waiting:
            server.demand = trio.Event()
        async with trio.open_nursery() as nursery:
            _first(nursery, self._kick)
            if server.config.url and server.state == "backoff":
                await server.demand.wait()
                await trio.sleep(DEMAND_S)
                nursery.cancel_scope.cancel()


def _first(nursery: trio.Nursery, event: trio.Event) -> None:
    """End the nursery when the event comes."""

    async def wait() -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    nursery.start_soon(wait)


def _leaf(group: BaseExceptionGroup[Exception]) -> Exception:
    """The first of the errors in a group that says why."""
    found: Exception = (
        group.exceptions[0] if not isinstance(group.exceptions[0], BaseExceptionGroup) else _leaf(group.exceptions[0])
    )
    return found


def _said(link: Link) -> str:
    """What it wrote last, for a person who reads the error."""
    words = link.words()
    return f" (stderr: {words[-1][:200]})" if words else ""

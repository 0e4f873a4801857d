"""The task that owns a server's sessions: connect → ready → serve until it ends → back off → again, for ever.

It enters, serves and leaves each of the SDK's contexts itself, innermost first; anything else is the death of the
whole process (TrioInternalError).
"""

from __future__ import annotations

import math
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from hermesd.errors import ConfigError, HermesError
from hermesd.mcp import sdk
from hermesd.mcp.backoff import Backoff, greetings, starts
from hermesd.mcp.errors import McpError
from hermesd.mcp.following import Following
from hermesd.mcp.process import is_asleep, is_at_rest
from hermesd.mcp.sanitize import shortened
from hermesd.mcp.session import client_info, meaning, negotiate, plain
from hermesd.mcp.stdio import STRAY
from hermesd.tools.environment import child_environment
from hermesd.tools.terminal.local import Spawn

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Callable

    from mcp import ClientSession

    from hermesd.config.schema import McpServerConfig
    from hermesd.mcp.link import Link
    from hermesd.mcp.server import McpServer

PROVEN_S = 60.0
FAREWELL_S = 0.5
AUTH_PROBE_S = 300.0
LAZY_IDLE_S = 300.0
DEMAND_S = 0.25  # somebody waits for an HTTP server: a connect costs next to nothing, so ask this often
START_DEMAND_S = 1.0  # somebody waits for a program that has failed
PING_S = 10.0
MAX_LAST_ERROR = 1000  # characters
REST_S = 0.1
LOOK_S = 0.02  # in the second that the SDK's import takes, once in the daemon's life


class Owner:
    """Runs one server's life. ``kick`` ends the session, or the wait, and connects at once."""

    def __init__(self, server: McpServer, rng: random.Random) -> None:
        self.server = server
        self.backoff = Backoff(rng)
        self._kick = trio.Event()
        self._resting = server.config.lifecycle == "lazy" and bool(server.tools)
        self._down_since = 0.0
        self._paused_at = 0.0
        self._pause: trio.CancelScope | None = None
        self._hastened = False
        self._cannot_start = False
        self._was_up = False

    def kick(self) -> None:
        """Start afresh, now."""
        self.backoff.proven()
        self._resting = False
        self._down_since = trio.current_time()
        self._kick.set()

    def hasten(self, *, tried: bool) -> float:
        """Somebody waits: bring the next try forward as far as may be; the seconds until it, 0 while one is under way.

        ``tried``: one has failed since they came. An HTTP server is asked every DEMAND_S until it has been away for
        connect_timeout; then, like a program, once for each who comes. Programs that run are started no oftener than
        the backoff allows; one that cannot even be started (it is not there) is tried at once for who comes, and is
        not worth waiting for (inf) to who has seen that fail.
        """
        if self._pause is None:
            return 0.0
        at = math.inf
        if self.server.config.url:
            is_young = trio.current_time() - self._down_since < self.server.config.connect_timeout
            if is_young or not tried:
                at = self._paused_at + DEMAND_S
        elif self._cannot_start:
            if tried:
                return math.inf
            at = self._paused_at
        elif not tried and (self._hastened or self.backoff.may_hasten()):
            self._hastened = True
            at = self._paused_at + START_DEMAND_S
        self._pause.deadline = min(self._pause.deadline, at)
        remaining = max(0.0, self._pause.deadline - trio.current_time())
        self.server.next_try_at = time.time() + remaining
        return remaining

    async def run(self) -> None:
        """Until cancelled."""
        server = self.server
        if not server.config.enabled:
            server.to("disabled")
            await trio.sleep_forever()
        self._resting = server.config.lifecycle == "lazy" and bool(server.tools)
        self._down_since = trio.current_time()
        while True:
            if self._resting and not server.waiting:
                await self._rest()
            self._resting = False
            if self._was_up and not self._kick.is_set():
                server.restarts += 1
            self._was_up = False
            self._kick = trio.Event()
            server.to("connecting")
            failure = await self._life()
            if failure is None:
                self._was_up = False  # it ended on purpose
            else:
                server.failures += 1
                await self._back_off(failure)

    async def _rest(self) -> None:
        """Wait for a caller."""
        self.server.demand = trio.Event()
        self.server.to("idle")
        async with trio.open_nursery() as nursery:
            _first(nursery, self._kick)
            _first(nursery, self.server.demand)
        self._down_since = trio.current_time()

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
            self.server.log.ours(shortened(str(_leaf(group)), MAX_LAST_ERROR), error=group)
            failures.append(_leaf(group))
        self.server.pid = 0
        return failures[0] if failures else None

    async def _connect(self, calls: trio.Nursery) -> None:
        """Connect within connect_timeout and serve; raises what went wrong."""
        config = self.server.config
        if not config.command and not config.url:
            where = f"mcp_servers.{self.server.name}"
            raise ConfigError("it has neither command nor url", where=where, next_step="set one in config.yaml")
        if config.url:
            await sdk.load(http=True)
        give_back = await starts.take(calls, self._at_rest)
        following = Following(self.server)
        link: Link | None = None
        try:
            with trio.CancelScope(deadline=trio.current_time() + config.connect_timeout) as scope:
                async with self._link(config) as link:
                    link.abrupt = True  # until it has answered, it is not asked politely
                    if not sdk.is_loaded():
                        await self._load_sdk(scope, give_back)
                        give_back()
                        give_back = await greetings.take(calls, self._at_rest)
                    async with self._session(link, following) as session:
                        await self._greet(session, link, following)
                        scope.deadline = math.inf
                        link.abrupt = False
                        give_back()
                        self._was_up = True
                        self.server.open(session, link, calls)
                        await self._serve(session, link, following)
                        self.server.shut()
        finally:
            give_back()
        if scope.cancelled_caught:
            why = f"no session within {config.connect_timeout:g} s{_said(link) if link else ''}"
            raise McpError(why, kind="timeout", where=self.server.where)

    async def _at_rest(self) -> None:
        """Return once the program only waits, though it has not answered: others may start beside it.

        Nothing tells us, so it is looked at while it holds its place. Who pauses for a moment is not taken at its word.
        """
        rested = False
        while True:
            await trio.sleep(REST_S)
            rests = bool(self.server.pid) and is_at_rest(self.server.pid)
            if rests and rested:
                return
            rested = rests

    async def _load_sdk(self, scope: trio.CancelScope, give_back: Callable[[], None]) -> None:
        """Have the SDK ready, while programs start that are to speak with it; the time is not the server's.

        A program that waits for us leaves its place to the next one. Nothing tells us when, so it is looked at.
        """

        async def look() -> None:
            while True:
                await trio.sleep(LOOK_S)
                if is_asleep(self.server.pid):
                    give_back()
                    return

        left_s, scope.deadline = scope.deadline - trio.current_time(), math.inf
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await sdk.load(http=False)
            nursery.cancel_scope.cancel()
        scope.deadline = trio.current_time() + left_s

    @asynccontextmanager
    async def _link(self, config: McpServerConfig) -> AsyncIterator[Link]:
        server = self.server
        if config.url:
            from hermesd.mcp.http import http_link

            async with http_link(config, auth=server.auth, log=server.log) as link:
                yield link
        else:
            from hermesd.mcp.stdio import stdio_link

            async with stdio_link(self._spawn(config), log=server.log, cap=config.max_message_bytes) as link:
                server.pid = link.process.pid
                yield link

    def _spawn(self, config: McpServerConfig) -> Spawn:
        cwd = Path(config.cwd).expanduser() if config.cwd else self.server.cwd
        env = child_environment(os.environ, extra=config.env)
        return Spawn([config.command, *config.args], cwd, env, self.server.tag)

    @asynccontextmanager
    async def _session(self, link: Link, following: Following) -> AsyncIterator[ClientSession]:
        from hermesd.mcp.client_session import Session

        callbacks = self.server.callbacks(self.server) if self.server.callbacks else {}
        async with Session(link, message_handler=following.hear, client_info=client_info(), **callbacks) as session:
            yield session

    async def _greet(self, session: ClientSession, link: Link, following: Following) -> None:
        """Agree on a version and learn what the server has."""
        from mcp.shared.exceptions import MCPError

        server = self.server
        try:
            await negotiate(session, server.config.era)
            server.era = session.protocol_version or ""
            server.server_info = plain(session.server_info) if session.server_info else {}
            server.capabilities = plain(session.server_capabilities) if session.server_capabilities else {}
            server.instructions = session.instructions or ""
            await following.learn(session)
        except MCPError as error:
            if link.why:
                raise McpError(f"the server {link.why}{_said(link)}", kind="down", where=server.where) from None
            raise meaning(error, server.name, link) from None

    # -- serving ---------------------------------------------------------------------------------------------------
    async def _serve(self, session: ClientSession, link: Link, following: Following) -> None:
        """Until the link is lost, a kick, or too long without use; raises McpError (down) for the first."""
        config = self.server.config
        idle_s = config.idle_timeout_seconds or (LAZY_IDLE_S if config.lifecycle == "lazy" else 0.0)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_lost, link, nursery.cancel_scope)
            _first(nursery, self._kick)
            nursery.start_soon(self._prove)
            nursery.start_soon(following.run, session, link)
            if idle_s:
                nursery.start_soon(self._until_idle, idle_s, nursery.cancel_scope)
            if config.url and config.keepalive_interval:
                nursery.start_soon(self._keep_alive, session, link)
        if link.lost.is_set():
            raise McpError(f"the server {link.why}{_said(link)}", kind="down", where=self.server.where)

    async def _until_lost(self, link: Link, scope: trio.CancelScope) -> None:
        await link.lost.wait()
        self._down_since = trio.current_time()
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
                except (MCPError, ValueError) as error:  # an answer that makes no sense is a sign of life too
                    self.server.log.ours(str(error)[:200])
            if scope.cancelled_caught:
                link.why = link.why or f"gave no sign of life for {PING_S:g} s"
                link.lost.set()

    # -- between lives ---------------------------------------------------------------------------------------------
    async def _back_off(self, failure: Exception) -> None:
        """Wait as the failure demands: a person for a sign-in or a wrong configuration, else a growing time."""
        server = self.server
        why = failure.what if isinstance(failure, HermesError) else str(failure) or repr(failure)
        server.last_error = shortened(" ".join(why.split()), MAX_LAST_ERROR)
        if isinstance(failure, ConfigError):
            server.to("failed")
            await self._kick.wait()
            return
        delay = self.backoff.next_delay_s()
        if isinstance(failure, McpError) and failure.needs_reauth:
            delay = AUTH_PROBE_S
        self._cannot_start = isinstance(failure, OSError) and not server.config.url
        server.next_try_at = time.time() + delay
        server.log.ours(f"{server.last_error}; next try in {delay:.1f} s")
        if delay:
            self._paused_at, self._hastened = trio.current_time(), False
            with trio.CancelScope(deadline=self._paused_at + delay) as self._pause:
                server.to("auth" if delay == AUTH_PROBE_S else "backoff")
                await self._kick.wait()
            self._pause = None
        server.next_try_at = 0.0


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
    return f" ({'' if words[-1].startswith(STRAY) else 'stderr: '}{words[-1][:200]})" if words else ""

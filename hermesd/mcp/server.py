"""One MCP server under supervision: what others ask of it, and its state.

The owner task (``owner``) connects and reconnects. Calls run as tasks of the owner, outside the session: when that
ends they are told at once, and a caller who gives up never waits for a server.
"""

from __future__ import annotations

import os
import random
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import trio

from hermesd.mcp.asking import CallsUnderWay
from hermesd.mcp.calls import Call
from hermesd.mcp.errors import McpError
from hermesd.mcp.owner import Owner
from hermesd.mcp.rounds import answered
from hermesd.mcp.serverlog import ServerLog
from hermesd.mcp.session import RefusedError, page_of, plain
from hermesd.mcp.typed import mcp_command

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2
    from mcp import ClientSession
    from pydantic import BaseModel

    from hermesd.config.schema import McpServerConfig
    from hermesd.mcp.link import Link

PATIENCE_S = 5.0
"""A caller waits for a try that comes within this time; see McpServer."""

State = Literal["idle", "connecting", "ready", "backoff", "auth", "disabled", "failed"]
Change = Literal["state", "tools"]
Json = dict[str, Any]  # JSON of the server


def _nothing(_server: McpServer, _change: Change) -> None:
    """Nobody listens."""


class McpServer:
    """A configured server. Run it as a service; it never gives up, and ends only by being cancelled.

    ``config`` has its references resolved. ``on_change(server, "state" | "tools")`` must not block; it is called on
    the owner's task, and for ``reconnect`` on the caller's. ``tag`` is the home's prefix for HERMESD_PROCESS
    (``leftovers.tag_prefix``). ``callbacks`` gives what the SDK's ClientSession takes for a server that asks back
    (``sampling_callback`` and the like), for each session. A lazy server with ``cached_tools`` is not started before
    it is called.

    ``state``: idle (not running until it is called), connecting, ready, backoff (``next_try_at``, epoch seconds), auth
    (a person must sign in), disabled, failed (the configuration is wrong; ``reconnect`` tries again). ``restarts``
    counts our own starts of it after it had been up and was lost, ``failures`` all sessions and tries that ended in an
    error. ``tools`` are kept while the server is away, and ``faults``, what of its list of them could not be used.

    A call to a server that is not ready waits while a try is under way or comes within PATIENCE_S, and connect_timeout
    at most. Otherwise it is told at once what went wrong last and when the next try comes. It brings that try forward
    (``Owner.hasten``), so a server that was down but works again answers it.
    """

    def __init__(
        self,
        profile_name: str,
        name: str,
        config: McpServerConfig,
        *,
        auth: httpx2.Auth | None = None,
        on_change: Callable[[McpServer, Change], None] = _nothing,
        tag: str = "",
        cwd: Path | None = None,
        callbacks: Callable[[McpServer], dict[str, Any]] | None = None,  # mcp's own types, whose import waits
        cached_tools: list[Json] | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.profile_name = profile_name
        self.name = name
        self.config = config
        self.auth = auth
        self.tag = f"{tag}{profile_name}:mcp:{name}:{os.urandom(6).hex()}"
        self.cwd = cwd or Path.home()
        self.callbacks = callbacks
        self.under_way = CallsUnderWay()
        self.where = f"mcp/{name}"
        self.log = ServerLog(self.where)
        self.state: State = "connecting" if config.enabled else "disabled"
        self.last_error = ""
        self.next_try_at = 0.0
        self.restarts = 0
        self.failures = 0
        self.era = ""
        self.server_info: Json = {}
        self.capabilities: Json = {}
        self.instructions = ""
        self.tools: list[Json] = list(cached_tools or [])
        self.faults: list[str] = []
        self.pid = 0
        self.active_calls = 0
        self.last_use = 0.0
        self.waiting = 0
        self.demand = trio.Event()
        self._on_change = on_change
        self._places = trio.CapacityLimiter(config.max_concurrent_calls)
        self._changed = trio.Event()
        self._session: ClientSession | None = None
        self._link: Link | None = None
        self._calls: trio.Nursery | None = None
        self._is_stale = False
        self._owner = Owner(self, rng or random.Random())  # noqa: S311 - jitter

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the server until cancelled. Started at once: no server holds up the daemon."""
        task_status.started()
        await self._owner.run()

    def reconnect(self) -> None:
        """End the session, or the wait for the next try, and connect at once: by hand, after a sign-in or a change."""
        self._is_stale = False
        if self.state != "disabled":
            self.shut()
            self.to("connecting")  # at once: who asks from now on waits for what comes of it
        self._owner.kick()

    def reconnect_when_quiet(self) -> None:
        """As ``reconnect``, once the calls under way have ended: some of them may still be answered."""
        self._is_stale = True
        self._reconnect_if_quiet()

    def _reconnect_if_quiet(self) -> None:
        if self._is_stale and not self.active_calls:
            self.reconnect()

    async def wait_ready(self, timeout_s: float) -> bool:
        """Whether it is ready within the time; asks an idle server to start. Waits as a call does, and no longer."""
        with trio.move_on_after(timeout_s):
            await self._ready(("auth", "failed", "disabled"))
        return self._session is not None

    def stderr(self) -> list[str]:
        """The last lines of the running server's stderr."""
        return self._link.words() if self._link else []

    # -- requests: each raises McpError -------------------------------------------------------------------------
    async def call_tool(
        self, name: str, arguments: dict[str, Any] | None = None, *, timeout_s: float | None = None
    ) -> Json:
        """The result of tools/call (``content``, ``structuredContent``, ``isError``); a tool's own error is one too."""
        answer = await self._ask(
            lambda session: answered(session, partial(session.call_tool, name, arguments)), timeout_s
        )
        self._owner.backoff.proven()
        return plain(answer)

    async def list_resources(self, *, cursor: str | None = None, timeout_s: float | None = None) -> Json:
        """One page of resources/list."""
        return plain(await self._ask(lambda session: session.list_resources(params=page_of(cursor)), timeout_s))

    async def read_resource(self, uri: str, *, timeout_s: float | None = None) -> Json:
        """The ``contents`` of a resource."""
        return plain(await self._ask(lambda session: answered(session, partial(session.read_resource, uri)), timeout_s))

    async def list_prompts(self, *, cursor: str | None = None, timeout_s: float | None = None) -> Json:
        """One page of prompts/list."""
        return plain(await self._ask(lambda session: session.list_prompts(params=page_of(cursor)), timeout_s))

    async def get_prompt(
        self, name: str, arguments: dict[str, str] | None = None, *, timeout_s: float | None = None
    ) -> Json:
        """The ``messages`` of a prompt."""
        answer = await self._ask(
            lambda session: answered(session, partial(session.get_prompt, name, arguments)), timeout_s
        )
        return plain(answer)

    async def _ask(
        self, request: Callable[[ClientSession], Awaitable[BaseModel]], timeout_s: float | None
    ) -> BaseModel:
        """Run a request in a session, once it is there; once more if the server certainly did not act on the first."""
        seconds = self.config.timeout if timeout_s is None else timeout_s
        with self.under_way.enter() as call, trio.move_on_after(seconds) as call.clock:
            try:
                return await self._attempt(request)
            except RefusedError:
                return await self._attempt(request)
        if self._session is None:
            raise self.unavailable()
        raise McpError(f"no answer within {seconds:g} s", kind="timeout", where=self.where)

    async def _attempt(self, request: Callable[[ClientSession], Awaitable[BaseModel]]) -> BaseModel:
        await self._await_session()
        try:
            self._places.acquire_nowait()
        except trio.WouldBlock:
            await self._places.acquire()
        try:
            if self._session is None or self._calls is None or self._link is None:
                raise RefusedError("the connection ended", kind="down", where=self.where)
            call = Call(self._session, self._link, self.name)
            self.active_calls += 1
            try:
                self._calls.start_soon(call.run, request)
                return await call.outcome()
            finally:
                self.active_calls -= 1
                self.last_use = trio.current_time()
                self._reconnect_if_quiet()
        finally:
            self._places.release()

    async def _await_session(self) -> None:
        """Wait for a server that is on its way up; raises McpError (down, auth) when it does not come."""
        if self._session is None and self.state not in ("auth", "disabled", "failed"):
            with trio.move_on_after(self.config.connect_timeout):
                await self._ready(("auth", "failed"))
        if self._session is None:
            raise self.unavailable()

    async def _ready(self, final: tuple[State, ...] = ()) -> None:
        self.waiting += 1
        before = self.failures
        try:
            while self._session is None and self.state not in final:
                if self.state == "backoff" and self._owner.hasten(tried=self.failures > before) > PATIENCE_S:
                    return
                self.demand.set()
                await self._changed.wait()
        finally:
            self.waiting -= 1

    def unavailable(self) -> McpError:
        """Why there is no session, and when there may be one, for whoever asked."""
        why = f": {self.last_error}" if self.last_error else ""
        if self.state == "auth":
            step = f"run `{mcp_command(self.profile_name, 'login', self.name)}`"
            return McpError(f"the server requires signing in{why}", kind="auth", where=self.where, next_step=step)
        if self.next_try_at:
            why += f"; it is tried again in {max(1.0, self.next_try_at - time.time()):.0f} s"
        return McpError(f"the server is not available ({self.state}){why}", kind="down", where=self.where)

    # -- what the owner says -------------------------------------------------------------------------------------
    def to(self, state: State) -> None:
        """Enter a state and tell."""
        if state != self.state:
            self.state = state
            self.tell("state")

    def tell(self, change: Change) -> None:
        """Wake who waits for a change here, and say it outside."""
        self._changed.set()
        self._changed = trio.Event()
        self._on_change(self, change)

    def open(self, session: ClientSession, link: Link, calls: trio.Nursery) -> None:
        """Calls go to this session from now on."""
        self._session, self._link, self._calls = session, link, calls
        self.last_error, self.next_try_at = "", 0.0
        self.last_use = trio.current_time()
        self.to("ready")

    def shut(self) -> None:
        """There is no session."""
        self._session = self._link = self._calls = None

"""The service ``mcp-endpoint``: the daemon's own MCP server at http://host:port/mcp."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

import trio

from hermesd.errors import ConfigError
from hermesd.serving.backend import Backend
from hermesd.serving.guard import Guard
from hermesd.serving.http import HttpListener
from hermesd.serving.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    from hermesd.config.schema import McpServeConfig
    from hermesd.serving.guard import App, Receive, Scope, Send

MAX_SESSIONS = 256
SESSION_IDLE_S = 30 * 60.0
IMPORTS = trio.CapacityLimiter(1)

log = logging.getLogger("hermesd.serving")


class StoppableBackend(Backend, Protocol):
    """A backend within the daemon."""

    def stop(self) -> None:
        """Answer calls that wait with RestartError, and take no more."""


class Endpoint:
    """A Service and Drainable. ``backend`` is made afresh for each start."""

    def __init__(self, config: McpServeConfig, backend: Callable[[], StoppableBackend]) -> None:
        self._config = config
        self._backend = backend()
        self._listener = HttpListener(config.host, config.port)
        self._under_way = 0
        self._idle = trio.Event()

    @property
    def detail(self) -> str:
        """Words for the tree's line."""
        count = self._listener.connections
        return f"port {self._listener.port}" + (f", {count} connected" if count else "")

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Serve until cancelled. Raises ConfigError: no token, or no such address; ConflictError: it is taken."""
        if not self._config.token:
            raise ConfigError(
                "is not served without a token", where="mcp_serve.token", next_step="set MCP_SERVE_TOKEN in .env"
            )
        await self._listener.open()
        try:
            task_status.started()  # the kernel keeps who comes while the libraries are imported
            app, sessions = await trio.to_thread.run_sync(self._import_and_build, limiter=IMPORTS)
            async with sessions.run():  # entered and left in this task, as everything of the SDK's
                guard = Guard(self._counted(app), self._config, self._listener.port)
                await self._listener.serve(guard)
        finally:
            self._listener.close()

    async def drain(self) -> None:
        """Take nothing new; return when the requests under way are answered. Streams of events are not waited for."""
        await self._listener.stop_accepting()
        self._backend.stop()
        while self._under_way:
            self._idle = trio.Event()
            await self._idle.wait()

    def _import_and_build(self) -> tuple[App, StreamableHTTPSessionManager]:
        """In a thread: the imports take half a second, during which others are to be served."""
        import hypercorn.trio  # noqa: F401 - here, and not at the first connection
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        from hermesd.serving.catalog import offered
        from hermesd.serving.protocol import build

        sessions = StreamableHTTPSessionManager(
            build(offered(), self._backend),
            max_request_body_size=self._config.max_body_bytes,
            max_sessions=MAX_SESSIONS,
            session_idle_timeout=SESSION_IDLE_S,
        )
        return Sessions(sessions.handle_request, MAX_SESSIONS), sessions

    def _counted(self, app: App) -> App:
        """Count POSTs: each is a request that will be answered. A GET is a stream of events that may last for ever."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["method"] != "POST":
                await app(scope, receive, send)
                return
            self._under_way += 1
            try:
                await app(scope, receive, send)
            finally:
                self._under_way -= 1
                self._idle.set()

        return counted

"""The HTTP listener for what comes from outside: one socket for all profiles, routes by method and path prefix."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from hermesd.web.address import OUT_OF_DESCRIPTORS, listen
from hermesd.web.message import Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.web.http11 import Connection, Limits

    Handler = Callable[[Request], Awaitable[Response]]

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 512
_BACKLOG = 512
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Ingress:
    """A service that listens on ``host:port`` (0: any free port, then ``port`` says which) and routes requests.

    Routes may be added and removed at any time, also before it runs. The longest matching prefix wins; a path that is
    known under other methods is answered 405. Raises ConflictError while another program has the port, and ConfigError
    when the address cannot be bound at all.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8644,
        *,
        limits: Limits | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        self.host = host
        self.port = port
        self._limits = limits
        self._max_connections = max_connections
        self._routes: dict[str, dict[str, Handler]] = {}
        self._connections: dict[Connection, trio.CancelScope] = {}
        self._idle: dict[Connection, None] = {}  # in the order in which they fell idle
        self._accepting = trio.CancelScope()
        self._none_left = trio.Event()

    # -- routes --------------------------------------------------------------------------------------------------------

    def add_route(self, method: str, prefix: str, handler: Handler) -> Callable[[], None]:
        """Serve ``method`` on ``prefix`` and everything below it; returns what removes the route again."""
        self._routes.setdefault(prefix.rstrip("/"), {})[method] = handler

        def remove() -> None:
            methods = self._routes.get(prefix.rstrip("/"), {})
            if methods.get(method) is handler:
                del methods[method]

        return remove

    async def handle(self, request: Request) -> Response:
        """Find the route and let it answer."""
        path = request.path.rstrip("/")
        while path:
            if methods := self._routes.get(path):
                handler = methods.get(request.method)
                if handler is None:
                    return json_response(405, headers={"allow": ", ".join(sorted(methods))}, error="method not allowed")
                return await handler(request)
            path = path.rpartition("/")[0]
        return json_response(404, error="not found")

    # -- the service ---------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled or drained."""
        from hermesd.web.http11 import Limits

        self._limits = self._limits or Limits()
        listeners = await listen(self.host, self.port, where="platforms.webhook", backlog=_BACKLOG)
        self.port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            try:
                with self._accepting:
                    async with trio.open_nursery() as accepting:
                        for listener in listeners:
                            accepting.start_soon(self._accept, listener, nursery)
                        task_status.started()
            finally:
                for listener in listeners:
                    listener.socket.close()

    async def drain(self) -> None:
        """Accept nothing new; return when every request under way has been answered."""
        self._accepting.cancel()
        for connection, scope in list(self._connections.items()):
            connection.close_after_this()
            if connection in self._idle:
                scope.cancel()
        if self._connections:
            await self._none_left.wait()

    async def _accept(self, listener: trio.SocketListener, nursery: trio.Nursery) -> None:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
                logger.error("no connection can be accepted: %s", error.strerror)  # noqa: TRY400 - expected, no traceback
                await trio.sleep(0.1)  # the waiting connection stays readable; without a pause this would spin
                continue
            nursery.start_soon(self._serve, stream)

    async def _serve(self, stream: trio.SocketStream) -> None:
        from hermesd.web.http11 import Connection

        assert self._limits is not None
        if len(self._connections) >= self._max_connections and not self._close_longest_idle():
            await _turn_away(stream)
            return

        def on_idle(idle: bool) -> None:
            if idle:
                self._idle[connection] = None
            else:
                self._idle.pop(connection, None)

        connection = Connection(stream, self.handle, self._limits, on_idle=on_idle)
        with trio.CancelScope() as scope:
            self._connections[connection] = scope
            try:
                await connection.serve()
            finally:
                del self._connections[connection]
                self._idle.pop(connection, None)
                if not self._connections:
                    self._none_left.set()
                    self._none_left = trio.Event()
                await trio.aclose_forcefully(stream)

    def _close_longest_idle(self) -> bool:
        for connection in self._idle:
            self._connections[connection].cancel()
            del self._idle[connection]
            return True
        return False


async def _turn_away(stream: trio.SocketStream) -> None:
    with trio.move_on_after(1.0):
        try:
            await stream.send_all(_BUSY)
            await stream.send_eof()
        except trio.BrokenResourceError:
            pass
    await trio.aclose_forcefully(stream)


def add_health(ingress: Ingress) -> None:
    """``GET /health``, as hermes-agent answers it."""

    async def health(_request: Request) -> Response:
        await trio.lowlevel.checkpoint()
        return json_response(200, status="ok", platform="webhook")

    ingress.add_route("GET", "/health", health)

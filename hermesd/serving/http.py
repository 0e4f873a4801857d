"""An ASGI application on Hypercorn's protocol code, in our own accept loop.

Hypercorn's own loop takes any number of connections and shields its sends from cancellation, so that a client which
does not read could hold up the end of the daemon. Here connections are counted, and a send that makes no progress
breaks its connection.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from hermesd.web.address import OUT_OF_DESCRIPTORS, listen

if TYPE_CHECKING:
    from hypercorn.config import Config
    from hypercorn.trio.worker_context import WorkerContext
    from hypercorn.typing import AppWrapper

    from hermesd.serving.guard import App

MAX_CONNECTIONS = 128
IDLE_S = 15.0
"""A connection without a request, or with half of a head, is closed after this."""
SEND_S = 20.0
FULL_RETRY_S = 0.1

log = logging.getLogger("hermesd.serving.http")


class HttpListener:
    """Listens on ``host:port`` once opened (0: any free port; then ``port`` says which)."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self._listeners: list[trio.SocketListener] = []
        self._streams: set[PatientStream] = set()
        self._accepting = trio.CancelScope()
        self._context: WorkerContext | None = None

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._streams)

    async def open(self) -> None:
        """Bind the address. Raises ConfigError, or ConflictError for one that is taken."""
        self._listeners = await listen(self.host, self.port, where="mcp_serve")
        self.port = self._listeners[0].socket.getsockname()[1]

    async def serve(self, app: App) -> None:
        """Serve until cancelled; then every connection is closed at once."""
        from hypercorn.trio.worker_context import WorkerContext
        from hypercorn.utils import wrap_app

        config = _config()
        self._context = WorkerContext(None)
        wrapped = wrap_app(app, config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]  # ASGI with narrower types
        async with trio.open_nursery() as nursery:
            try:
                with self._accepting:
                    async with trio.open_nursery() as accepting:
                        for listener in self._listeners:
                            accepting.start_soon(self._accept, listener, wrapped, config, nursery)
                await trio.sleep_forever()
            finally:
                self.close()  # before the nursery waits for those who send

    async def stop_accepting(self) -> None:
        """Take no more clients; those connected are not kept for a further request."""
        self._accepting.cancel(reason="the endpoint drains")
        if self._context is not None:
            await self._context.terminated.set()

    def close(self) -> None:
        """Close the address and every connection."""
        for listener in self._listeners:
            listener.socket.close()
        for stream in tuple(self._streams):
            stream.socket.close()  # a shielded send ends with it

    async def _accept(
        self, listener: trio.SocketListener, app: AppWrapper, config: Config, nursery: trio.Nursery
    ) -> None:
        while True:
            try:
                accepted = await listener.accept()
            except OSError as error:
                if error.errno not in OUT_OF_DESCRIPTORS:
                    raise
                log.warning("no connection can be accepted: %s", error.strerror)
                await trio.sleep(FULL_RETRY_S)  # the waiting connection stays readable; without a pause this would spin
                continue
            if len(self._streams) >= MAX_CONNECTIONS:
                await trio.aclose_forcefully(accepted)
                continue
            nursery.start_soon(self._serve, PatientStream(accepted), app, config)

    async def _serve(self, stream: PatientStream, app: AppWrapper, config: Config) -> None:
        from hypercorn.trio.tcp_server import TCPServer

        assert self._context is not None
        self._streams.add(stream)
        try:
            with stream.scope:
                await TCPServer(app, config, self._context, {}, stream)  # type: ignore[arg-type]  # it takes what quacks
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client has left in the middle of something
        except* Exception:  # whatever bytes a stranger sends: they cost nobody but the one who sent them
            log.exception("a connection has failed")
        finally:
            self._streams.discard(stream)
            stream.socket.close()


class PatientStream:
    """A connection as Hypercorn uses it, whose sends have a deadline. Without ``do_handshake`` it is taken as plain.

    ``scope`` is around all that is done for it, the application included, and is cancelled when a send was too slow.
    """

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self.socket = stream.socket
        self.scope = trio.CancelScope()

    async def send_all(self, data: bytes) -> None:
        """Raises trio.BrokenResourceError when the other side takes nothing for SEND_S."""
        try:
            with trio.fail_after(SEND_S):
                await self._stream.send_all(data)
        except trio.TooSlowError:
            self.scope.cancel(reason="the client does not read")
            raise trio.BrokenResourceError("the client does not read") from None

    async def receive_some(self, max_bytes: int) -> bytes | bytearray:
        """As SocketStream's."""
        return await self._stream.receive_some(max_bytes)

    async def send_eof(self) -> None:
        """As SocketStream's."""
        await self._stream.send_eof()

    async def aclose(self) -> None:
        """As SocketStream's."""
        await self._stream.aclose()


def _config() -> Config:
    from hypercorn.config import Config

    config = Config()
    config.errorlog = log
    config.accesslog = None
    config.keep_alive_timeout = IDLE_S
    config.include_server_header = False
    return config

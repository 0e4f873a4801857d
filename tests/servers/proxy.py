"""A TCP proxy that loses answers: the request arrives, the answer does not.

``proxy.lose`` is asked with the bytes of each request as they pass; when it returns True, what the server answers is
thrown away and the client's connection closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import trio


class Proxy:
    """Between a client and ``port`` on loopback. ``lost`` counts the answers thrown away."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.port = 0
        self.lose: Callable[[bytes], bool] = lambda _request: False
        self.lost = 0
        self.lost_one = trio.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def lose_answer_to(self, marker: bytes, *, times: int = 1) -> None:
        """Lose the answers to the next requests that contain ``marker``."""
        left = times

        def lose(request: bytes) -> bool:
            nonlocal left
            if marker in request and left:
                left -= 1
                return True
            return False

        self.lose = lose

    async def _serve(self, client: trio.SocketStream) -> None:
        server = await trio.open_tcp_stream("127.0.0.1", self._target)
        losing = False
        async with client, server, trio.open_nursery() as nursery:

            async def forward() -> None:
                nonlocal losing
                async for data in client:
                    losing = losing or self.lose(data)
                    await server.send_all(data)
                await server.send_eof()

            nursery.start_soon(_quietly, forward)
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                async for data in server:
                    if losing:
                        self.lost += 1
                        self.lost_one.set()
                        break
                    await client.send_all(data)
            nursery.cancel_scope.cancel()


async def _quietly(copy: Callable[[], Awaitable[None]]) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await copy()


@asynccontextmanager
async def proxy_to(port: int) -> AsyncIterator[Proxy]:
    """A proxy in front of ``port`` while the block runs."""
    proxy = Proxy(port)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, proxy._serve, 0, host="127.0.0.1"))
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()

"""The HTTP+SSE transport of 2024-11-05, for servers that still speak it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from hermesd.mcp.client import ContainedClient
    from hermesd.mcp.http import HttpLink


@asynccontextmanager
async def sse_link(url: str, client: ContainedClient, link: HttpLink) -> AsyncIterator[None]:
    """Fill the link's streams from the SDK's transport, with the answers to failed POSTs mixed in."""
    from mcp.client.sse import sse_client

    def factory(headers: object = None, timeout: object = None, auth: object = None) -> ContainedClient:
        return client

    send, receive = trio.open_memory_channel[Any](0)
    client.inject = send
    async with sse_client(url, httpx_client_factory=factory) as (read, write), trio.open_nursery() as nursery:

        async def forward() -> None:
            async with send:
                async for item in read:
                    await send.send(item)
            link.lose("closed the event stream")

        nursery.start_soon(forward)
        link.read, link.write = receive, write
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()

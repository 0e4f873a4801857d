"""Streamable HTTP and legacy SSE: the SDK's transports over an HTTP client that tells them nothing they cannot bear.

The SDK erases status codes, ends every call with the first connection error, gives up its event stream after two, and
never begins a new session. So the client answers in place of a server that cannot be reached, always in JSON-RPC.
"""

from __future__ import annotations

import functools
import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import trio

from hermesd.mcp.errors import McpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx2

    from hermesd.config.schema import McpServerConfig
    from hermesd.mcp.serverlog import ServerLog

CONNECT_S = 10.0
POOL_EXTRA = 8
READ_EXTRA_S = 5.0  # above a call's own time, which is to end first

_files = trio.CapacityLimiter(2)


class HttpLink:
    """A connection to an HTTP server; see ``Link``."""

    read: Any = None  # the SDK's streams, whose import waits for the first server
    write: Any = None
    hears = False

    def __init__(self) -> None:
        self.lost = trio.Event()
        self.why = ""
        self.gap = trio.Event()
        self.abrupt = False

    def words(self) -> list[str]:
        """Nothing: its log is elsewhere."""
        return []

    def lose(self, why: str) -> None:
        """The session cannot go on."""
        if not self.lost.is_set():
            self.why = why
            self.lost.set()


@asynccontextmanager
async def http_link(config: McpServerConfig, *, auth: httpx2.Auth | None, log: ServerLog) -> AsyncIterator[HttpLink]:
    """A connection for as long as the body runs; raises McpError when the legacy transport cannot be opened."""
    from mcp.client.streamable_http import streamable_http_client

    from hermesd.mcp.client import ContainedClient

    link = HttpLink()
    context = await trio.to_thread.run_sync(_context, config, limiter=_files)
    cap = config.max_message_bytes
    client = ContainedClient(link, log, cap=cap, auth=auth, **_options(config, context))
    if config.transport == "sse":
        link.hears = True  # its event stream is the session
        from hermesd.mcp.sse import sse_link

        async with sse_link(config.url, client, link):
            yield link
        return
    streams = streamable_http_client(config.url, http_client=client, max_sse_event_size=cap)
    async with client, streams as (link.read, link.write):
        yield link


def _options(config: McpServerConfig, context: ssl.SSLContext) -> dict[str, Any]:
    """How the HTTP client is built."""
    import httpx2

    from hermesd.mcp.reach import guarded

    connect_s = min(CONNECT_S, config.connect_timeout)
    return {
        "headers": dict(config.headers),
        "timeout": httpx2.Timeout(connect_s, read=config.timeout + READ_EXTRA_S),
        **guarded(config, context, max_connections=config.max_concurrent_calls + POOL_EXTRA),
    }


@functools.cache
def usual_context() -> ssl.SSLContext:
    """TLS as the HTTP library has it, made once: reading the authorities takes tens of milliseconds."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


def _context(config: McpServerConfig) -> ssl.SSLContext:
    """TLS as configured: another authority, none at all, or with our own certificate. Blocks. Raises McpError."""
    if config.ssl_verify is True and not config.client_cert:
        return usual_context()
    try:
        authority = config.ssl_verify if isinstance(config.ssl_verify, str) else None
        context = ssl.create_default_context(cafile=authority)
        if config.ssl_verify is False:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if config.client_cert:
            context.load_cert_chain(config.client_cert, config.client_key or None)
    except OSError as error:
        raise McpError(f"its TLS settings cannot be used: {error}", kind="down") from None
    return context

"""The MCP SDK, made ready in a thread when the first server starts: a second in which the loop need not stand still."""

from __future__ import annotations

import importlib
import logging
import sys

import trio

from hermesd import collector

MODULES = (
    "anyio._backends._trio",  # which anyio would import at its first use
    "mcp",
    "mcp.client.subscriptions",
    "mcp.shared.exceptions",
    "mcp.shared.message",
    "mcp_types",
    "mcp_types.version",
    "hermesd.mcp.stdio",
)
HTTP_MODULES = ("httpx2", "mcp.client.streamable_http", "mcp.client.sse", "hermesd.mcp.client")

SWITCH_S = 0.0005

_thread = trio.CapacityLimiter(1)
"""One at a time: the second finds what the first has imported, and nobody meets a half-made module."""
_loaded: set[str] = set()


async def load(*, http: bool) -> None:
    """Return once everything is there that a session needs. The first time takes seconds on a slow machine.

    Whoever imports from ``mcp`` on the loop must have waited for this: an import of what a thread is importing blocks.
    """
    wanted = MODULES + (HTTP_MODULES if http else ())
    if not _loaded.issuperset(wanted):
        await trio.to_thread.run_sync(_import, wanted, limiter=_thread, abandon_on_cancel=True)
    if http:
        from hermesd.mcp.http import usual_context

        if not usual_context.cache_info().currsize:
            await trio.to_thread.run_sync(usual_context, limiter=_thread, abandon_on_cancel=True)


def _import(names: tuple[str, ...]) -> None:
    """Meanwhile the interpreter's lock changes hands more often: the loop has to ask for it at every turn."""
    usual_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        with collector.importing():
            for name in names:
                importlib.import_module(name)
                _loaded.add(name)
        _quieten()
        collector.keep()
    finally:
        sys.setswitchinterval(usual_s)


def _quieten() -> None:
    """The SDK logs session ids, and every message that it cannot use; its transports as errors, without end."""
    for name in ("mcp", "client", "httpx2"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("mcp.client.streamable_http", "mcp.client.sse"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

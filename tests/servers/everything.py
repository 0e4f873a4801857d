"""npm ``@modelcontextprotocol/server-everything``: the reference server, over stdio or streamable HTTP."""

from __future__ import annotations

from pathlib import Path

from tests.servers import mcp_real


def program() -> Path:
    """Its entry point, to be run by node with ``stdio`` or ``streamableHttp`` (``PORT``); installs it if need be."""
    return Path(mcp_real.everything()[1])

"""The MCP servers that are measured: one of plain JSON lines, npm's server-everything and PyPI's mcp-server-time."""

from __future__ import annotations

import subprocess
import sys

from bench.environments import ROOT, NotAvailableError


def minimal(*modes: str) -> list[str]:
    """The command of the minimal server; its ``modes`` are told in its file."""
    return [sys.executable, "-I", "-S", str(ROOT / "tests/servers/mcp_minimal.py"), *modes]


def everything() -> list[str]:
    """The command of npm's reference server; raises NotAvailableError."""
    from tests.servers import everything as found

    try:
        return ["node", str(found.program()), "stdio"]
    except (OSError, AssertionError, subprocess.SubprocessError) as error:
        raise NotAvailableError(f"npm server-everything cannot be had: {error}") from None


def clock() -> list[str]:
    """The command of PyPI's time server; raises NotAvailableError."""
    from tests.servers import mcp_real

    try:
        return mcp_real.clock()
    except (OSError, subprocess.SubprocessError) as error:
        raise NotAvailableError(f"PyPI's mcp-server-time cannot be had: {error}") from None


def install() -> None:
    """Before a namespace cuts npm and pip off. Raises NotAvailableError."""
    everything()
    clock()

"""Other people's MCP servers, installed on first use: npm's filesystem server and PyPI's time server.

They go to ``hermesd-tests/mcp`` in the user's cache directory; ``MCP_TEST_SERVERS`` names another place.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

NPM = ("@modelcontextprotocol/server-filesystem",)
PYPI = ("mcp-server-time",)


def filesystem(*directories: Path) -> list[str]:
    """The command of a server that serves these directories."""
    program = _place() / "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js"
    if not program.exists():
        _install(["npm", "install", "--no-audit", "--no-fund", "--prefix", str(_place()), *NPM])
    return ["node", str(program), *map(str, directories)]


def clock() -> list[str]:
    """The command of the time server."""
    python = _place() / "venv/bin/python"
    if not (_place() / "venv/bin/mcp-server-time").exists():
        _install([sys.executable, "-m", "venv", str(_place() / "venv")])
        _install([str(python), "-m", "pip", "install", "--quiet", *PYPI])
    return [str(_place() / "venv/bin/mcp-server-time"), "--local-timezone", "UTC"]


def _place() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(os.environ.get("MCP_TEST_SERVERS") or cache / "hermesd-tests" / "mcp")
    place.mkdir(parents=True, exist_ok=True)
    return place


def _install(command: list[str]) -> None:
    """One at a time, whatever the number of test processes."""
    with (_place() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(command, check=True, timeout=300, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

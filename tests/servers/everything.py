"""npm ``@modelcontextprotocol/server-everything``: the reference server, over stdio or streamable HTTP.

npm installs it into ``tests/servers/node_mcp`` when it is first needed; ``MCP_NODE_MODULES`` names another place.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NODE = Path(__file__).parent / "node_mcp"
PROGRAM = "@modelcontextprotocol/server-everything/dist/index.js"


def program() -> Path:
    """Its entry point, to be run by node with ``stdio`` or ``streamableHttp`` (``PORT``); installs it if need be."""
    path = Path(os.environ.get("MCP_NODE_MODULES") or NODE / "node_modules") / PROGRAM
    if not path.exists():
        with (Path(tempfile.gettempdir()) / "hermesd-mcp-install.lock").open("w") as lock:  # one process installs
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists():
                npm = shutil.which("npm")
                assert npm, "npm is needed to install server-everything"
                argv = [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
                subprocess.run(argv, cwd=NODE, check=True)
    return path

"""Other people's MCP servers, from npm and PyPI, installed on first use and always in the same versions.

They go to ``hermesd-tests/mcp`` in the user's cache directory; ``MCP_TEST_SERVERS`` names another place. Each function
returns a command, and raises SkipTest where its packages cannot be had.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path

NPM = (
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
)
NPM_BROWSERS = ("@playwright/mcp@0.0.83", "chrome-devtools-mcp@1.11.0")
PYPI = ("mcp-server-fetch==2026.10.24", "mcp-server-git==2026.10.19", "mcp-server-time==2026.10.19")
INSTALL_S = 300

Installer = Callable[[Path, tuple[str, ...]], None]
"""Puts packages into a directory."""


def everything(transport: str = "stdio") -> list[str]:
    """The server that shows every feature of the protocol; other transports listen on ``PORT``."""
    return ["node", str(script("@modelcontextprotocol/server-everything/dist/index.js")), transport]


def filesystem(*directories: Path) -> list[str]:
    """The command of a server that serves these directories."""
    return ["node", str(script("@modelcontextprotocol/server-filesystem/dist/index.js")), *map(str, directories)]


def memory() -> list[str]:
    """The knowledge graph; its file is ``MEMORY_FILE_PATH`` of its environment."""
    return ["node", str(script("@modelcontextprotocol/server-memory/dist/index.js"))]


def clock() -> list[str]:
    """The time server, at home in UTC."""
    return [str(_python("mcp-server-time")), "--local-timezone", "UTC"]


def git(repository: Path) -> list[str]:
    """A server for one repository."""
    return [str(_python("mcp-server-git")), "--repository", str(repository)]


def fetch() -> list[str]:
    """A server that fetches pages, from loopback too, where no page has a robots.txt."""
    return [str(_python("mcp-server-fetch")), "--ignore-robots-txt", "--allow-private-ips"]


def browser(package: str) -> list[str]:
    """``@playwright/mcp`` or ``chrome-devtools-mcp``, without a browser: they list their tools all the same."""
    place = _place("browsers", NPM_BROWSERS, _npm)
    return [str(place / "node_modules/.bin" / {"@playwright/mcp": "playwright-mcp"}.get(package, package))]


def script(path: str) -> Path:
    """A file of the npm packages."""
    return _place("npm", NPM, _npm) / "node_modules" / path


def npm_packages(kind: str, packages: tuple[str, ...]) -> Path:
    """The ``node_modules`` in which other packages are, installed in the same way."""
    return _place(kind, packages, _npm) / "node_modules"


def _python(program: str) -> Path:
    return _place("pypi", PYPI, _pypi) / "venv/bin" / program


def _npm(place: Path, packages: tuple[str, ...]) -> None:
    # without install scripts: these packages have none that they need, and a browser would be fetched by one
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--no-package-lock"]
    _run(["npm", "install", *options, "--prefix", str(place), *packages])


def _pypi(place: Path, packages: tuple[str, ...]) -> None:
    _run([sys.executable, "-m", "venv", str(place / "venv")])
    _run([str(place / "venv/bin/python"), "-m", "pip", "install", "--quiet", *packages])


def _place(kind: str, packages: tuple[str, ...], install: Installer) -> Path:
    """The directory of these packages in these versions. One process installs, the others wait for it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(os.environ.get("MCP_TEST_SERVERS") or cache / "hermesd-tests" / "mcp") / kind
    place.mkdir(parents=True, exist_ok=True)
    wanted, installed = "\n".join(packages), place / "installed.txt"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_text() != wanted:
            for stale in ("node_modules", "venv"):
                shutil.rmtree(place / stale, ignore_errors=True)
            install(place, packages)
            installed.write_text(wanted)
    return place


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise unittest.SkipTest(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest(f"{command[0]} did not install within {INSTALL_S} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().splitlines()[-1:]
        raise unittest.SkipTest(f"{command[0]} cannot install the servers: {' '.join(said)[:200]}") from None

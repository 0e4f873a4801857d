"""hermes-agent from PyPI with a home of its own: its command line, and its gateway with the HTTP API server.

It must not reach anything but this machine: the parts that use it run in a network namespace with only loopback
(bench.namespace). The API server (https://hermes-agent.nousresearch.com, "API server") is its one documented way of
keeping an agent warm and asking it something from outside.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import namespace
from bench.environments import NotAvailableError, peer

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 90.0
NOWHERE = "http://127.0.0.1:9/v1"


def program() -> Path:
    """Its command, installed on demand. Raises NotAvailableError."""
    return peer("hermes-agent") / "hermes"


def write_home(directory: Path, base_url: str = NOWHERE) -> dict[str, str]:
    """A home whose model is at ``base_url``, or the one that is there; returns the environment to run it with."""
    home = directory / ".hermes"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "config.yaml").write_text(
        "model:\n  default: gpt-4o\n  provider: custom\n  api_key: none\n  context_length: 128000\n"
        f"  base_url: {base_url}\n"
        # Every tenth turn it would also review its memory and skills with the model, in the background.
        "memory: {nudge_interval: 0}\nskills: {creation_nudge_interval: 0}\n"
        # It would try to install packages from the network, in vain and with pauses; its container image has this too.
        "security: {allow_lazy_installs: false}\n"
    )
    return {"PATH": "/usr/bin:/bin", "HOME": str(directory), "HERMES_HOME": str(home), "NO_COLOR": "1"}


def require_isolation() -> None:
    """Raises NotAvailableError where it could reach the network."""
    if not namespace.is_isolated():
        raise NotAvailableError("no network namespace of its own could be made here, and it must not reach the network")


@dataclass
class Gateway:
    """A running gateway; ``ready_ms`` is the time from its exec until /health answered."""

    pid: int
    port: int
    key: str
    ready_ms: float
    directory: Path

    def ask(self, connection: http.client.HTTPConnection, text: str, session: str) -> dict[str, Any]:
        """One turn over a kept connection; the answer as JSON. Raises RuntimeError when it is not 200."""
        body = json.dumps({"model": "hermes-agent", "messages": [{"role": "user", "content": text}]})
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Content-Type": "application/json",
            "X-Hermes-Session-Id": session,
        }
        connection.request("POST", "/v1/chat/completions", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"hermes-agent answered {answer.status}: {data[:300]!r}")
        result: dict[str, Any] = json.loads(data)
        return result


@contextlib.contextmanager
def gateway(directory: Path, base_url: str = NOWHERE) -> Iterator[Gateway]:
    """Its gateway on a home below ``directory``, only the API server on. Raises NotAvailableError if it cannot run."""
    require_isolation()
    command = program()
    port, key = _free_port(), secrets.token_hex(32)
    env = write_home(directory, base_url)
    env |= {"API_SERVER_ENABLED": "true", "API_SERVER_KEY": key, "API_SERVER_PORT": str(port)}
    with (directory / "output").open("wb") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [command, "gateway", "run"],
            env=env,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_health(process, port, directory / "output")
        yield Gateway(process.pid, port, key, (time.perf_counter() - begun) * 1e3, directory)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its session is ours: we made it
        process.wait()


def _await_health(process: subprocess.Popen[bytes], port: int, output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with (
            contextlib.suppress(OSError),
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as ask,
        ):
            ask.request("GET", "/health")
            if ask.getresponse().status == 200:
                return
        time.sleep(0.01)  # it has no way of saying that it is ready
    raise NotAvailableError(f"its gateway did not come up: {output.read_text(errors='replace')[-500:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

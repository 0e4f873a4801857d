"""PyPI llmock as a real process: an OpenAI and Anthropic endpoint that breaks on demand and judges its client.

From a shell: ``python -m tests.servers.llmock [PORT]``.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE_PATHS = {"openai": "/v1", "anthropic": "/anthropic"}
STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
_START_S = 30.0
_PROGRAM = Path(sys.executable).with_name("llmock")


class LlmockServer:
    """The address of a running llmock, and its control API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._control = httpx2.Client(base_url=f"{url}/_llmock", trust_env=False, timeout=60)

    def base_url(self, wire: str) -> str:
        """What ``model.base_url`` must be for a wire format."""
        return self.url + BASE_PATHS[wire]

    def script(self, *behaviors: dict[str, Any]) -> None:
        """Queue behaviours, e.g. ``{"type": "fail", "status": 429, "retry_after": 0.5, "times": 2}``."""
        self._control.post("/scenario", json={"behaviors": list(behaviors)}).raise_for_status()

    def pending(self) -> list[dict[str, Any]]:
        """Behaviours that no request has met yet."""
        return self._control.get("/scenario").json()["pending"]

    def requests(self) -> list[dict[str, Any]]:
        """Every request since the last reset, in order of arrival."""
        return self._control.get("/requests").json()["requests"]

    def verdict(self) -> dict[str, Any]:
        """How the client coped: ``errors``, ``warnings``, ``findings``, ``faults_injected`` …"""
        return self._control.get("/verdict").json()

    def reset(self) -> None:
        """Forget behaviours and requests."""
        self._control.post("/reset").raise_for_status()

    def report(self, *, strict: bool = True) -> subprocess.CompletedProcess[str]:
        """``llmock report``: exit status 1 if the client misbehaved."""
        command = [_PROGRAM, "report", "--url", self.url, *(["--strict"] if strict else [])]
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    def close(self) -> None:
        """Close the control connection; the process is stopped by ``run_llmock``."""
        self._control.close()


@contextlib.contextmanager
def run_llmock(*options: str, port: int = 0) -> Iterator[LlmockServer]:
    """Start ``llmock serve`` and stop it at the end. ``options`` are its own, e.g. ``--context-window=50``."""
    port = port or _free_port()
    command = [_PROGRAM, "serve", "-h", "127.0.0.1", "-p", str(port), *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _wait_until_it_listens(process)
            server = LlmockServer(f"http://127.0.0.1:{port}")
            try:
                yield server
            finally:
                server.close()
        finally:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_it_listens(process: subprocess.Popen[bytes]) -> None:
    """Read its log until uvicorn says that it runs; then a thread keeps the pipe from filling up."""
    assert process.stderr is not None
    pipe = process.stderr.fileno()
    log = b""
    deadline = time.monotonic() + _START_S
    while b"Uvicorn running" not in log:
        ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
        more = os.read(pipe, 65536) if ready else b""
        if not more:
            raise RuntimeError(f"llmock did not start:\n{log.decode(errors='replace')}")
        log += more
    threading.Thread(target=process.stderr.read, daemon=True).start()


@pytest.fixture(scope="module")
def llmock_process() -> Iterator[LlmockServer]:
    """One llmock for all tests of a module."""
    with run_llmock() as server:
        yield server


@pytest.fixture
def llmock(llmock_process: LlmockServer) -> LlmockServer:
    """A llmock that has forgotten everything before this test."""
    llmock_process.reset()
    return llmock_process


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with run_llmock(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as running:
        print(f"OpenAI {running.base_url('openai')}  Anthropic {running.base_url('anthropic')}", flush=True)
        signal.sigwait(STOP_SIGNALS)

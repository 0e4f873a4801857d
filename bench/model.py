"""The scripted model that every agent here is given: PyPI llmock, which answers OpenAI's API, and its own time.

What an agent adds to a turn is the turn's wall time less that of the requests it made to the model. These are sent
again, the same bodies over a warm httpx2 connection, right after the turn.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.daemon import stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2

COMPLETIONS = "/v1/chat/completions"
START_TIMEOUT_S = 30.0

Script = list[dict[str, Any]]


def says(text: str) -> dict[str, Any]:
    """An answer."""
    return {"type": "reply", "text": text, "match": {"path": COMPLETIONS}}


def calls(tool: str, **arguments: object) -> dict[str, Any]:
    """A tool call."""
    return {"type": "reply", "tool_calls": [{"name": tool, "arguments": arguments}], "match": {"path": COMPLETIONS}}


class Model:
    """A running llmock."""

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self.url = url
        self._client = client

    @property
    def base_url(self) -> str:
        """What an agent is configured with."""
        return f"{self.url}/v1"

    def added_ms(self, script: Script, turn: Callable[[], object]) -> float:
        """What a turn takes besides the model's own time. RuntimeError when it did not follow the script."""
        self._arm(script)
        begun = time.perf_counter()
        turn()
        took = (time.perf_counter() - begun) * 1e3
        bodies = [
            row["body"] for row in self._control("GET", "requests").json()["requests"] if row["path"] == COMPLETIONS
        ]
        if len(bodies) != len(script):
            said = "; ".join(str(body["messages"][-1])[:200] for body in bodies)
            raise RuntimeError(f"the agent made {len(bodies)} requests where {len(script)} were scripted: {said}")
        self._arm(script)
        return took - sum(self._bare_ms(body) for body in bodies)

    def arm_always(self, text: str) -> None:
        """Give every request this answer from now on."""
        self._arm([{**says(text), "times": None}])

    def _arm(self, script: Script) -> None:
        self._control("POST", "reset")
        self._control("POST", "scenario", {"behaviors": script})

    def _bare_ms(self, body: dict[str, Any]) -> float:
        begun = time.perf_counter()
        with self._client.stream("POST", f"{self.url}{COMPLETIONS}", json=body) as answer:
            for _ in answer.iter_bytes():
                pass
        answer.raise_for_status()
        return (time.perf_counter() - begun) * 1e3

    def _control(self, method: str, what: str, body: object = None) -> httpx2.Response:
        answer = self._client.request(method, f"{self.url}/_llmock/{what}", json=body)
        answer.raise_for_status()
        return answer


@contextlib.contextmanager
def running() -> Iterator[Model]:
    """A model that answers on entry and is gone at the end."""
    import httpx2

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("llmock")), "serve", "-h", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            _await_start(process)
            with httpx2.Client(trust_env=False, timeout=60) as client:
                yield Model(f"http://127.0.0.1:{port}", client)
        finally:
            stop(process)


def _await_start(process: subprocess.Popen[bytes]) -> None:
    """Read its log until it says that it runs; a thread then keeps the pipe from filling up."""
    assert process.stderr is not None
    log = b""
    while b"Uvicorn running" not in log:
        ready, _, _ = select.select([process.stderr], [], [], START_TIMEOUT_S)
        more = os.read(process.stderr.fileno(), 65536) if ready else b""
        if not more:
            raise RuntimeError(f"llmock did not start: {log.decode(errors='replace')}")
        log += more
    threading.Thread(target=process.stderr.read, daemon=True).start()

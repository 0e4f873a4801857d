"""circusd with a few sleeping watchers, its command line, and raw requests over its ZeroMQ socket."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.daemon import stop
from bench.environments import NotAvailableError, peer

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHERS = 4
START_TIMEOUT_S = 20.0

ROUND_TRIPS = """
import json, sys, time, zmq
endpoint, seconds = sys.argv[1], float(sys.argv[2])
socket = zmq.Context.instance().socket(zmq.DEALER)
socket.setsockopt(zmq.LINGER, 0)
socket.connect(endpoint)
ask = json.dumps({"id": "1", "command": "numwatchers", "properties": {}}).encode()
times, clock = [], time.perf_counter
begun = before = clock()
while before - begun < seconds:
    socket.send(ask)
    if not socket.poll(5000):
        sys.exit("no answer")
    socket.recv()
    after = clock()
    times.append((after - before) * 1e6)
    before = after
print(json.dumps(times))
"""
"""A client that sends bytes made beforehand; it needs pyzmq, so it runs in circus' own environment."""


@dataclass
class Circusd:
    """A running circusd."""

    pid: int
    bin: Path
    endpoint: str

    @property
    def status(self) -> list[str]:
        """The command that shows its watchers."""
        return [str(self.bin / "circusctl"), "--endpoint", self.endpoint, "status"]

    def round_trips(self, seconds: float) -> list[float]:
        """Microseconds of each of the requests that fit into a span of time."""
        command = [str(self.bin / "python"), "-c", ROUND_TRIPS, self.endpoint, str(seconds)]
        times: list[float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return times


@contextlib.contextmanager
def daemon() -> Iterator[Circusd]:
    """Started and answering on entry, stopped at the end. Raises NotAvailableError."""
    programs = peer("circus")
    with tempfile.TemporaryDirectory() as name:
        endpoint = f"ipc://{name}/c.sock"
        watchers = (f"[watcher:sleep{number}]\ncmd = /bin/sleep infinity\n" for number in range(WATCHERS))
        config = Path(name) / "circus.ini"
        head = f"[circus]\nendpoint = {endpoint}\npubsub_endpoint = ipc://{name}/p.sock\nstatsd = False\n"
        config.write_text("\n".join([head, *watchers]))
        process = subprocess.Popen(
            [programs / "circusd", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=name
        )
        circusd = Circusd(process.pid, programs, endpoint)
        try:
            _await_answer(process, circusd)
            yield circusd
        finally:
            stop(process)


def _await_answer(process: subprocess.Popen[bytes], circusd: Circusd) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        if subprocess.run(circusd.status, capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)  # it has no way of saying that it is ready
    raise NotAvailableError("circusd did not come up")

"""Signed webhooks that are durable before their 202: accepts a second, and how long one takes.

    python -m bench.webhook [--seconds 3] [--rounds 3] [--json] [--bare]

The server is the daemon's own listener, webhook handler and store in one process on one core; each request is signed
(X-Hub-Signature-256), has a delivery id of its own and a GitHub-like body of about 1 kB, and is committed with fsync
before it is answered. ``--bare`` answers 202 from the same listener without reading or storing anything, which shows
what HTTP alone costs. The client is another process on another core. Cases:
  sequential   one connection, one request at a time: the latency of accepting
  32 at once   32 connections with one request under way on each: accepts a second
The median of the rounds counts.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import hmac
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

CONNECTIONS = 32
SECRET = "bench"
BODY = json.dumps(
    {
        "action": "opened",
        "repository": {"id": 1, "full_name": "octo/parrot", "description": "x" * 300},
        "issue": {"number": 7, "title": "It stalls", "body": "y" * 400, "labels": [{"name": "bug"}] * 5},
        "sender": {"login": "ada", "id": 42},
    }
).encode()


# -- server --------------------------------------------------------------------------------------------------------


async def serve(path: Path, *, bare: bool) -> None:
    import trio

    from hermesd.config.schema import WebhookConfig, WebhookRoute
    from hermesd.store.sqlite import SqliteStore
    from hermesd.triggers.webhook import Webhooks
    from hermesd.web.ingress import Ingress
    from hermesd.web.message import Request, Response, json_response

    async def accept(request: Request) -> Response:
        await request.body(max_bytes=1 << 20)
        return json_response(202, status="accepted")

    store = SqliteStore.open(path)
    webhooks = Webhooks(store)
    route = WebhookRoute(prompt="{repository.full_name}: {issue.title}", events=["issues"])
    webhooks.set_profile("default", WebhookConfig(secret=SECRET, routes={"bench": route}, rate_per_minute=0))
    ingress = Ingress("127.0.0.1", 0)
    ingress.add_route("POST", "/webhooks", accept if bare else webhooks.handle)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: store.run(task_status=task_status))
        await nursery.start(lambda task_status: ingress.run(task_status=task_status))
        print(ingress.port, flush=True)


@contextlib.contextmanager
def server(directory: Path, *, bare: bool, peer: Path | None = None) -> Iterator[int]:
    """The port. ``peer``: the Python of an environment with hermes-agent, whose adapter then takes our place."""
    arguments = [sys.executable, "-m", "bench.webhook", "--serve", str(directory / "state.db")]
    arguments += ["--bare"] if bare else []
    if peer is not None:
        arguments = [str(peer), str(Path(__file__).parent / "peers/hermes_webhook.py"), SECRET]
    environment = {**os.environ, "HERMES_HOME": str(directory)} if peer is not None else None
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    assert process.stdout is not None
    try:
        with contextlib.suppress(OSError):
            os.sched_setaffinity(process.pid, {0})
        yield int(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()


# -- client --------------------------------------------------------------------------------------------------------


class Requests:
    """Endless requests, each with an id that was never used."""

    def __init__(self, run: str) -> None:
        digest = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
        self._run = run
        self._number = 0
        self._head = (
            "POST /webhooks/bench HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\nX-GitHub-Event: issues\r\n"
            f"X-Hub-Signature-256: sha256={digest}\r\nX-GitHub-Delivery: "
        )

    def next(self) -> bytes:
        self._number += 1
        return f"{self._head}{self._run}-{self._number}\r\n\r\n".encode() + BODY


def exchange(stream: socket.socket, request: bytes) -> None:
    stream.sendall(request)
    answer = stream.recv(65536)
    assert answer.startswith(b"HTTP/1.1 202 "), answer


def connect(port: int) -> socket.socket:
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def sequential(port: int, seconds: float, requests: Requests) -> list[float]:
    """Milliseconds of each accept."""
    times = []
    with connect(port) as stream:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            request = requests.next()
            began = time.perf_counter()
            exchange(stream, request)
            times.append((time.perf_counter() - began) * 1e3)
    return times


def at_once(port: int, seconds: float, requests: Requests) -> tuple[float, list[float]]:
    """Accepts a second, and milliseconds of each."""
    selector = selectors.DefaultSelector()
    began: dict[socket.socket, float] = {}
    times = []
    for _ in range(CONNECTIONS):
        stream = connect(port)
        selector.register(stream, selectors.EVENT_READ)
        began[stream] = time.perf_counter()
        stream.sendall(requests.next())
    start = time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        for key, _ in selector.select(1.0):
            stream = key.fileobj  # type: ignore[assignment]  # only sockets are registered
            answer = stream.recv(65536)
            assert answer.startswith(b"HTTP/1.1 202 "), answer
            now = time.perf_counter()
            times.append((now - began[stream]) * 1e3)
            began[stream] = now
            stream.sendall(requests.next())
    rate = len(times) / (time.perf_counter() - start)
    for stream in began:
        stream.close()
    return rate, times


def measure(seconds: float, rounds: int, *, bare: bool, peer: Path | None = None) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {1})
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as directory, server(Path(directory), bare=bare, peer=peer) as port:
            requests = Requests(f"run{number}")
            sequential(port, 0.3, requests)
            alone = statistics.quantiles(sequential(port, seconds, requests), n=100)
            rate, times = at_once(port, seconds, requests)
            loaded = statistics.quantiles(times, n=100)
        for name, value in {
            "sequential_p50_ms": alone[49],
            "sequential_p99_ms": alone[98],
            "accepts_per_s": rate,
            "loaded_p50_ms": loaded[49],
            "loaded_p99_ms": loaded[98],
        }.items():
            found.setdefault(name, []).append(value)
    return {name: round(statistics.median(values), 3) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--bare", action="store_true")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        import trio

        trio.run(lambda: serve(options.serve, bare=options.bare))
        return
    found = measure(options.seconds, options.rounds, bare=options.bare)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:20} {value:10.2f}")


if __name__ == "__main__":
    main()

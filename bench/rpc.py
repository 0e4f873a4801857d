"""Requests a second of the RPC server beside a bare Trio echo of the same frames, in one run.

    python -m bench.rpc [--seconds 2] [--rounds 3] [--json]

Ours answers ``rpc.ping`` with credentials, schema check and audit on: every request is decoded, its role looked up
against the configuration in force, its parameters checked, its answer encoded. The echo reads a frame and writes it
back through Trio's own streams, and checks nothing.

The server is pinned to one core and the client, another process, to another. Cases:
  sequential   one connection, each request sent after the answer to the one before
  32 at once   32 connections, each with 1 or (pipelined) 8 requests under way
  connecting   a new connection for each request, one at a time and 32 at a time
The cases of one round run right after each other; the median of the rounds counts.
"""

from __future__ import annotations

import argparse
import contextlib
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
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECTIONS = 32
PIPELINED = 8
RECEIVE_BYTES = 256 * 1024


def frame(message: object) -> bytes:
    import msgspec

    payload = msgspec.msgpack.encode(message)
    return len(payload).to_bytes(4, "big") + payload


def request_frame() -> bytes:
    return frame({"jsonrpc": "2.0", "id": 1, "method": "rpc.ping", "params": {}})


# -- servers ------------------------------------------------------------------------------------------------------


async def echo(path: Path) -> None:
    """The bare thing: Trio's listener and streams, a length prefix, nothing else."""
    import trio

    async def serve(stream: trio.SocketStream) -> None:
        buffer = bytearray()
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await stream.receive_some(65536):
                buffer += data
                answers = bytearray()
                while len(buffer) >= 4:
                    end = 4 + int.from_bytes(buffer[:4], "big")
                    if len(buffer) < end:
                        break
                    answers += buffer[:end]
                    del buffer[:end]
                if answers:
                    await stream.send_all(answers)

    listening = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    await listening.bind(str(path))
    listening.listen(4096)
    print("ready", flush=True)
    await trio.serve_listeners(serve, [trio.SocketListener(listening)])


async def ours(path: Path) -> None:
    import trio

    from hermesd.config.schema import RpcConfig
    from hermesd.home import Home
    from hermesd.rpc.listen import bind
    from hermesd.rpc.server import RpcServer

    settings = RpcConfig()

    class Daemon:
        home = Home(path.parent)

    listener = bind(path)
    server = RpcServer(Daemon(), listener, rpc_settings=lambda: settings, audit=[].append)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: server.run(task_status=task_status))
        print("ready", flush=True)


class Server:
    """A server process on a core of its own."""

    def __init__(self, kind: str, directory: Path, core: int) -> None:
        self.path = directory / f"{kind}.sock"
        command = [sys.executable, "-m", "bench.rpc", "--serve", kind, str(self.path), str(core)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)

    def wait_until_ready(self) -> Server:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise SystemExit("a server did not start")
        return self

    def cpu_us(self) -> float:
        """Processor time so far (proc/pid/schedstat): what a busy machine does not disturb."""
        return int(Path(f"/proc/{self._process.pid}/schedstat").read_text().split()[0]) / 1000

    def rss_kib(self) -> int:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def stop(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


# -- clients ------------------------------------------------------------------------------------------------------


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    return client


def sequential(path: Path, seconds: float) -> tuple[float, list[float]]:
    """Requests a second, and each one's latency in microseconds."""
    ask = request_frame()
    latencies = []
    with connect(path) as client:
        clock = time.perf_counter
        begun = before = clock()
        while before - begun < seconds:
            client.send(ask)
            client.recv(RECEIVE_BYTES)
            after = clock()
            latencies.append((after - before) * 1e6)
            before = after
    return len(latencies) / (before - begun), latencies


def pipelined(path: Path, seconds: float, depth: int) -> float:
    """Requests a second over all connections: what was answered is asked again, all of it in one send."""
    ask = request_frame()
    clients = [connect(path) for _ in range(CONNECTIONS)]
    clients[0].send(ask)
    answer_bytes = len(clients[0].recv(RECEIVE_BYTES))
    answered, owed = 0, dict.fromkeys(clients, 0)
    with selectors.EpollSelector() as ready:
        for client in clients:
            client.setblocking(False)
            ready.register(client, selectors.EVENT_READ)
            client.send(ask * depth)
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            for key, _ in ready.select():
                client = key.fileobj
                data = client.recv(RECEIVE_BYTES)
                whole, owed[client] = divmod(owed[client] + len(data), answer_bytes)
                answered += whole
                client.send(ask * whole)
        elapsed = time.perf_counter() - begun
    for client in clients:
        client.close()
    return answered / elapsed


def connecting(path: Path, seconds: float, at_once: int) -> float:
    """Connections a second, each with one request; ``at_once`` of them are opened before the first is read."""
    ask = request_frame()
    count, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        clients = [connect(path) for _ in range(at_once)]
        for client in clients:
            client.send(ask)
        for client in clients:
            client.recv(RECEIVE_BYTES)
            client.close()
        count += at_once
    return count / (time.perf_counter() - begun)


def idle_kib(server: Server, count: int) -> float:
    """Memory of an idle connection in the server, in KiB."""
    before = server.rss_kib()
    clients = [connect(server.path) for _ in range(count)]
    sequential(server.path, 0.05)  # everyone has been accepted when a later one has been answered
    grown = (server.rss_kib() - before) / count
    for client in clients:
        client.close()
    return grown


# -- the run ------------------------------------------------------------------------------------------------------


def measure(seconds: float, rounds: int) -> dict[str, float]:
    cores = sorted(os.sched_getaffinity(0))
    server_core, client_core = cores[0], cores[-1]
    if server_core == client_core:
        print("only one core: server and client share it", file=sys.stderr)
    os.sched_setaffinity(0, {client_core})
    results: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        results.setdefault(name, []).append(value)

    with tempfile.TemporaryDirectory() as directory:
        servers = {kind: Server(kind, Path(directory), server_core) for kind in ("echo", "ours")}
        try:
            for server in servers.values():
                server.wait_until_ready()
                sequential(server.path, 0.2)
            for _ in range(rounds):
                for kind, server in servers.items():
                    before = server.cpu_us()
                    rate, latencies = sequential(server.path, seconds)
                    note(f"{kind} sequential CPU us", (server.cpu_us() - before) / len(latencies))
                    note(f"{kind} sequential /s", rate)
                    note(f"{kind} sequential p50 us", statistics.median(latencies))
                    note(f"{kind} sequential p99 us", statistics.quantiles(latencies, n=100)[98])
                for depth in (1, PIPELINED):
                    for kind, server in servers.items():
                        before = server.cpu_us()
                        rate = pipelined(server.path, seconds, depth)
                        note(f"{kind} {CONNECTIONS} at once x{depth} /s", rate)
                        note(
                            f"{kind} {CONNECTIONS} at once x{depth} CPU us",
                            (server.cpu_us() - before) / (rate * seconds),
                        )
                for at_once in (1, CONNECTIONS):
                    for kind, server in servers.items():
                        before = server.cpu_us()
                        rate = connecting(server.path, seconds, at_once)
                        note(f"{kind} connecting x{at_once} /s", rate)
                        note(f"{kind} connecting x{at_once} CPU us", (server.cpu_us() - before) / (rate * seconds))
            for kind, server in servers.items():
                note(f"{kind} KiB an idle connection", idle_kib(server, 500))
        finally:
            for server in servers.values():
                server.stop()
    figures = {name: round(statistics.median(values), 1) for name, values in results.items()}
    figures["ours of echo, sequential %"] = round(
        100 * figures["ours sequential /s"] / figures["echo sequential /s"], 1
    )
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", nargs=3, metavar=("KIND", "PATH", "CORE"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        import trio

        kind, path, core = args.serve
        os.sched_setaffinity(0, {int(core)})
        server: Callable[[Path], object] = {"echo": echo, "ours": ours}[kind]
        trio.run(server, Path(path))
        return
    figures = measure(args.seconds, args.rounds)
    if args.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:36} {value:>10,.1f}")


if __name__ == "__main__":
    main()

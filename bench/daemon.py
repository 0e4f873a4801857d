"""hermesd from the installed wheel on a home of its own, started and stopped for one measurement."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.environments import installed_wheel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0


def environment(home: Path) -> dict[str, str]:
    """What a program of ours is run with."""
    return {"PATH": "/usr/bin:/bin", "HOME": str(home.parent), "HERMES_HOME": str(home)}


def write_home(home: Path, config: str = "", *, profiles: int = 1) -> Path:
    """A home with this many profiles, each with the same config.yaml; returns it."""
    home.mkdir(mode=0o700)
    roots = [home, *(home / f"profiles/p{number}" for number in range(1, profiles))]
    for root in roots:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        if config:
            (root / "config.yaml").write_text(config)
    return home


@dataclass
class Hermesd:
    """A running daemon; ``ready_ms`` is the time from its exec to READY."""

    home: Path
    process: subprocess.Popen[bytes]
    ready_ms: float

    @property
    def pid(self) -> int:
        return self.process.pid

    @contextlib.contextmanager
    def connect(self) -> Iterator[Connection]:
        """A kept connection that speaks JSON lines."""
        with socket.socket(socket.AF_UNIX) as stream:
            stream.settimeout(READY_TIMEOUT_S)
            stream.connect(str(self.home / "hermesd.sock"))
            yield Connection(stream)


class Connection:
    """Calls over one connection, one at a time."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._lines = stream.makefile("rb")
        self._id = 0

    def call(self, method: str, **params: object) -> Any:
        """The result. Raises RuntimeError on an error answer."""
        return self.call_each(method, [params])[0]

    def call_each(self, method: str, each: Iterable[dict[str, object]]) -> list[Any]:
        """One request for each of these parameters, all under way at once; the results as they come."""
        lines = []
        for params in each:
            self._id += 1
            lines.append(json.dumps({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}))
        self._stream.sendall("".join(f"{line}\n" for line in lines).encode())
        answers = [json.loads(self._lines.readline()) for _ in lines]
        if failed := [answer["error"] for answer in answers if "error" in answer]:
            raise RuntimeError(f"{method}: {failed[0]}")
        return [answer["result"] for answer in answers]


@contextlib.contextmanager
def running(home: Path) -> Iterator[Hermesd]:
    """A daemon that is ready on entry and gone on exit. Raises RuntimeError when it does not come up."""
    program = installed_wheel() / "hermesd"
    reader, writer = os.pipe()
    with (home.parent / "hermesd.output").open("ab") as output:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [program, "--ready-fd", str(writer)],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writer,),
        )
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], READY_TIMEOUT_S)
        if not ready or os.read(reader, 1) != b"\n":
            raise RuntimeError((home.parent / "hermesd.output").read_text()[-2000:])
        yield Hermesd(home, process, (time.perf_counter() - begun) * 1e3)
    finally:
        os.close(reader)
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours in order, or kill it."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def start_ms(home: Path) -> float:
    """Milliseconds from exec to READY of one start."""
    with running(home) as daemon:
        return daemon.ready_ms

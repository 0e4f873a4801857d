"""A real hermesd on a home of its own: started, awaited by its readiness descriptor, killed or stopped by pid."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.forked import Forked, can_fork, run

_OURS = (
    "hermesd.config.validate",
    "hermesd.gateway.platforms.telegram_send",
    "hermesd.providers.offline_commands",
    "hermesd.rpc.console",
    "hermesd.triggers.webhook",
    "hermesd.web.http11",
)
HTTP = ("httpx2", "httpcore2", "h11", "yaml", "dotenv", "encodings.idna", *_OURS)
"""What a daemon loads that has a configuration and talks to a model or a platform."""
_ENDPOINT = ("mcp.server.streamable_http_manager", "hypercorn.trio.tcp_server")
MCP = (*HTTP, "ruamel.yaml", "mcp", "hermesd.mcp.client", "hermesd.mcp.callbacks", *_ENDPOINT)
"""What a daemon loads that has MCP servers, or is one: more than a second of processor time."""
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0


def _replace(path: Path, text: str, *, mode: int) -> None:
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=mode)
    new.write_text(text)
    new.replace(path)


class NotReadyError(AssertionError):
    """The daemon ended, or did not become ready in time; the text is what it printed."""


@dataclass
class Daemon:
    """One hermesd and the ways a test may treat it."""

    home: Path
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | Forked | None = None
    module: str = "hermesd"  # what ``python -m`` runs
    loaded: tuple[str, ...] = ()  # modules that it need not load itself, for tests that would only wait for that
    executed: bool = False  # always a new interpreter: for tests of the process itself, of its memory and its start
    wrapper: tuple[str, ...] = ()  # what runs that; ``pid`` and signals are its

    @property
    def socket_path(self) -> Path:
        from hermesd.home import Home

        return Home(self.home).socket_path

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def write_config(self, text: str, *, profile: str = "default", env: str = "") -> None:
        """Put config.yaml (and .env) into a profile's directory, as editors do: a daemon never sees half of a file."""
        root = self.home if profile == "default" else self.home / "profiles" / profile
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(root / "config.yaml", text, mode=0o644)
        if env:
            _replace(root / ".env", env, mode=0o600)

    def start(self, *arguments: str, wait: bool = True, **env: str) -> Daemon:
        """Start it; with ``wait`` return once it says READY."""
        reader, writer = os.pipe()
        environment = {**os.environ, "HERMES_HOME": str(self.home), **self.env, **env}
        log = self.output_path.open("ab")
        try:
            words = ["--ready-fd", str(writer), *arguments]
            if self.executed or self.wrapper or self.module != "hermesd" or not can_fork(environment):
                self.process = subprocess.Popen(
                    [*self.wrapper, sys.executable, "-m", self.module, *words],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writer,),
                )
            else:
                with Path(os.devnull).open("rb") as nothing:
                    kept = {0: nothing.fileno(), 1: log.fileno(), 2: log.fileno(), writer: writer}
                    self.process = Forked("hermesd", words, environment, kept, loaded=self.loaded)
        finally:
            log.close()
            os.close(writer)
        try:
            if wait:
                self._await_ready(reader)
        finally:
            os.close(reader)
        return self

    @property
    def output_path(self) -> Path:
        """What the process printed."""
        return self.home.parent / f"{self.home.name}.output"

    @property
    def output(self) -> str:
        return self.output_path.read_text(errors="replace")

    def _await_ready(self, reader: int) -> None:
        ready, _, _ = select.select([reader], [], [], READY_TIMEOUT_S)
        if not ready or os.read(reader, 1) != b"\n":
            self.kill()
            raise NotReadyError(self.output[-4000:])

    def kill(self) -> None:
        """SIGKILL, and reap."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end; the exit status (negative: the signal)."""
        assert self.process is not None
        return self.process.wait(timeout_s)

    def ctl(
        self, *arguments: str, stdin: str | None = None, timeout_s: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run hermesctl against this home."""
        environment = {**os.environ, "HERMES_HOME": str(self.home), **self.env}
        if not self.executed and can_fork(environment, stdin or ""):
            return run("hermesctl", list(arguments), environment, text=stdin or "", timeout_s=timeout_s)
        return subprocess.run(
            [sys.executable, "-m", "hermesctl", *arguments],
            env=environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    @contextlib.contextmanager
    def connect(self, timeout_s: float = 60.0) -> Iterator[Wire]:
        """A JSON-lines connection."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(self.socket_path))
            with contextlib.closing(Wire(sock)) as wire:
                yield wire

    def call(self, method: str, **params: Any) -> Any:
        """One call on a connection of its own; raises RpcFailure on an error answer."""
        with self.connect() as wire:
            return wire.call(method, **params)

    def until(self, holds: Callable[[], bool], *, since: int = 0) -> None:
        """Return once it holds: looked at now, and after every event that is told from number ``since`` on."""
        with self.connect() as wire:
            wire.send("events.watch", since=since)
            while not holds():
                wire.until("events.event")

    def mcp_url(self) -> str:
        """Where the MCP endpoint listens, which is enabled."""
        services = self.call("daemon.tree")["root"]["children"]
        detail = next(service["detail"] for service in services if service["name"] == "mcp-endpoint")
        return f"http://127.0.0.1:{detail.split()[1].rstrip(',')}/mcp"


class RpcFailure(AssertionError):  # noqa: N818 - it is a failure of the test unless expected
    """The daemon answered with an error object."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(json.dumps(error))
        self.error = error
        self.code: int = error["code"]


class Wire:
    """JSON lines over a connected socket; notifications seen on the way are kept in ``updates``."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.file = sock.makefile("rb")
        self.updates: list[dict[str, Any]] = []
        self._id = 0

    def close(self) -> None:
        self.file.close()

    def send(self, method: str, **params: Any) -> int:
        self._id += 1
        frame = {"jsonrpc": "2.0", "id": self._id, "method": method, "params": params}
        self.sock.sendall(json.dumps(frame).encode() + b"\n")
        return self._id

    def read(self) -> dict[str, Any]:
        line = self.file.readline()
        if not line:
            raise ConnectionError("the daemon closed the connection")
        return json.loads(line)

    def call(self, method: str, **params: Any) -> Any:
        return self.result(self.send(method, **params))

    def result(self, request: int) -> Any:
        while True:
            frame = self.read()
            if "method" in frame:
                self.updates.append(frame)
            elif frame.get("id") == request:
                if "error" in frame:
                    raise RpcFailure(frame["error"])
                return frame["result"]

    def until(self, method: str, **wanted: Any) -> dict[str, Any]:
        """Read on to the notification whose params hold these values."""
        while True:
            frame = self.read()
            self.updates.append(frame)
            params = frame.get("params", {})
            if frame.get("method") == method and all(params.get(key) == value for key, value in wanted.items()):
                return params


@contextlib.contextmanager
def running(home: Path, config: str = "", **env: str) -> Iterator[Daemon]:
    """A daemon that is ready on entry and gone on exit."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    daemon = Daemon(home, dict(env))
    if config:
        daemon.write_config(config)
    daemon.start()
    try:
        yield daemon
    finally:
        daemon.kill()

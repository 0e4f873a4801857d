"""Looking at a running daemon from outside: events and log lines are waited for, nothing is polled or slept for."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import hmac
import http.client
import json
import mmap
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.daemon import Daemon, Wire

HERE = Path(__file__).parent
SECRET = "s3cret"


class Watch:
    """The daemon's events from the first on, or from ``since``."""

    def __init__(self, wire: Wire, since: int = 0) -> None:
        self._wire = wire
        self.seen: list[dict[str, Any]] = []
        wire.send("events.watch", since=since)

    def until(self, kind: str, **data: Any) -> dict[str, Any]:
        """Read on to the event of this kind whose data holds these values."""
        while True:
            event = self.until_any(kind)
            if all(event["data"].get(key) == value for key, value in data.items()):
                return event

    def until_any(self, *kinds: str) -> dict[str, Any]:
        """Read on to the next event of one of these kinds."""
        while True:
            event: dict[str, Any] = self._wire.until("events.event")["event"]
            self.seen.append(event)
            if event["kind"] in kinds:
                return event


class Log:
    """hermesd.log, what stands in it already and what comes."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.lines: list[str] = []
        wire.send("logs.follow", lines=1000)

    def until(self, text: str) -> dict[str, Any]:
        """Read on to the line whose message, error or service contains the text; the line as an object."""
        while True:
            line = self._wire.until("logs.line")["line"]
            self.lines.append(line)
            if text in line:
                return json.loads(line)


@contextlib.contextmanager
def events(daemon: Daemon, since: int = 0) -> Iterator[Watch]:
    with daemon.connect() as wire:
        yield Watch(wire, since)


@contextlib.contextmanager
def log_of(daemon: Daemon) -> Iterator[Log]:
    with daemon.connect() as wire:
        yield Log(wire)


def services(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """Path → status of every service in the tree."""
    found: dict[str, dict[str, Any]] = {}
    pending = [daemon.call("daemon.tree")["root"]]
    while pending:
        status = pending.pop()
        found[status["name"]] = status
        pending += status.get("children", [])
    return found


def restarted(daemon: Daemon) -> list[str]:
    """The services that are not as they were first started."""
    found = services(daemon).items()
    return [f"{name} {row['state']}" for name, row in found if row.get("restarts") or row["state"] != "ready"]


def doctor(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """Name → check, of those that are not ok."""
    return {check["name"]: check for check in daemon.call("daemon.doctor")["checks"] if check["verdict"] != "ok"}


INBOX_STATES = ["pending", "running", "done", "failed", "parked", "dropped"]


def inbox(daemon: Daemon) -> list[dict[str, Any]]:
    """Every row, oldest first."""
    return daemon.call("inbox.list", states=INBOX_STATES, limit=500)["rows"][::-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def webhook_config(port: int, *, deliver: str = "local") -> str:
    """The lines below ``platforms:`` that serve a route called ``load`` in ``port``."""
    return f"""\
  webhook:
    enabled: true
    port: {port}
    rate_per_minute: 100000
    routes:
      load:
        secret: {SECRET}
        prompt: "{{text}}"
        deliver: {deliver}
"""


def telegram_config(base_url: str) -> str:
    """The lines below ``platforms:`` for a bot that answers user 7."""
    return f"""\
  telegram:
    enabled: true
    base_url: {base_url}
    allowed_users: [7]
    poll_timeout_s: 5
"""


def post(port: int, text: str, delivery: str, *, timeout_s: float = 30.0) -> tuple[int, dict[str, Any], dict[str, str]]:
    """One signed delivery: status, body, headers (lower case)."""
    body = json.dumps({"text": text}).encode()
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    with contextlib.closing(connection):
        connection.request(
            "POST", "/webhooks/load", body, {"X-Hub-Signature-256": signature, "X-GitHub-Delivery": delivery}
        )
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), {k.lower(): v for k, v in answer.getheaders()}


def run_gateway(daemon: Daemon, profile: str = "default") -> None:
    """Let the profile's gateway start with the daemon."""
    root = daemon.home if profile == "default" else daemon.home / "profiles" / profile
    (root / "gateway_state.json").write_text('{"desired_state": "running"}')


class Refusals:
    """What the preloaded library (refusals.c) refuses in the daemon, changed while it runs. 0: nothing."""

    def __init__(self, library: Path, control: Path) -> None:
        control.write_bytes(bytes(8))
        with control.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)
        self._codes = (ctypes.c_int * 2).from_buffer(self._shared)
        self.env = {"LD_PRELOAD": str(library), "HERMESD_TEST_REFUSALS": str(control)}

    def writes(self, error: int) -> None:
        """Positioned writes, syncs and truncations of files: SQLite's."""
        self._codes[0] = error

    def forks(self, error: int) -> None:
        """New processes."""
        self._codes[1] = error


def build_refusals(directory: Path) -> Path:
    """The library; skips the test where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the fault injection library with")
    library = directory / "refusals.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "refusals.c", "-ldl"], check=True)
    return library


@contextlib.contextmanager
def small_disk(mount: Path, size: str) -> Iterator[Path]:
    """A real file system of a given size; skips where mounting is not permitted."""
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "hermesd-test", mount]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small tmpfs needs root and CAP_SYS_ADMIN")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def fill(directory: Path) -> Path:
    """Take all the space there is; returns the file to remove."""
    ballast = directory / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


def eventually(look: Callable[[], bool], watch: Watch, kind: str) -> None:
    """Look again after each event of a kind."""
    while not look():
        watch.until(kind)

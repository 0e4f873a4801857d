"""A hermesd forked by the fork server of this test process, to be waited for and killed like a subprocess."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path

from tests.servers.forkserver import Request

ROOT = Path(__file__).parents[2]
END_S = 10.0
OF_THE_INTERPRETER = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_")  # read when a program is executed, and never again


def can_fork(environment: dict[str, str]) -> bool:
    """Whether a process with this environment would be the same executed or forked."""
    return _of_the_interpreter(environment) == _of_the_interpreter(dict(os.environ))


def _of_the_interpreter(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(OF_THE_INTERPRETER)}


class Forked:
    """What ``subprocess.Popen`` offers of a daemon, as far as tests use it."""

    def __init__(
        self, arguments: list[str], environment: dict[str, str], output: int, passed: int, *, loaded: tuple[str, ...]
    ) -> None:
        """Standard output and standard error go to ``output``; the descriptor ``passed`` is kept under its number.

        ``loaded`` names modules that are loaded beforehand, besides those of an idle hermesd.
        """
        self.returncode: int | None = None
        self._handle = -1
        reader, writer = os.pipe()
        self._status = os.fdopen(reader, "rb", buffering=0)
        with Path(os.devnull).open("rb") as nothing:
            targets = {0: nothing.fileno(), 1: output, 2: output, passed: passed}
            request = Request(arguments, environment, str(Path.cwd()), _umask(), list(targets))
            packet = json.dumps(asdict(request)).encode()
            socket.send_fds(_server(loaded), [packet], [*targets.values(), writer])
        os.close(writer)
        self.pid = int(self._status.readline())
        try:
            self._handle = os.pidfd_open(self.pid)  # so that no later process of that number is ever meant
        except ProcessLookupError:
            self.wait()

    def __del__(self) -> None:
        self._status.close()
        if self._handle >= 0:
            os.close(self._handle)

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            ready, _, _ = select.select([self._status], [], [], timeout)
            if not ready:
                raise subprocess.TimeoutExpired(["hermesd"], timeout or 0)
            self.returncode = int(self._status.readline())
        return self.returncode


def _umask() -> int:
    found = re.search(r"^Umask:\s+(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1], 8)


@cache
def _server(loaded: tuple[str, ...]) -> socket.socket:
    """The fork server of this test process that has loaded these modules; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.forkserver", str(theirs.fileno()), "hermesd.process", *loaded],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(process.wait, END_S)
    atexit.register(ours.close)  # before that: it is what ends it
    return ours

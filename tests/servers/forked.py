"""A hermesd or hermesctl forked by a fork server of this test process, treated like a subprocess."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from functools import cache
from pathlib import Path

from tests.servers.forkserver import Request

ROOT = Path(__file__).parents[2]
END_S = 60.0
CHUNK = 1 << 16
PIPE_TAKES = 10_000  # characters, however they are encoded
_CLIENT = ("hermesctl.arguments", "hermesctl.client", "hermesctl.context", "hermesctl.fast", "hermesctl.output")
_CHANGES = ("shutil", "dotenv", "ruamel.yaml", "yaml", "hermesd.config.validate", "hermesd.config.write")
LOADED = {
    "hermesd": ("hermesd.process", "hermesd.rpc.methods", "hermesd.config.inotify", "hermesd.providers.offline"),
    "hermesctl": (*_CLIENT, *_CHANGES),
}
"""Module → what every start of it would load, and of hermesctl those verbs that change a configuration."""
OF_THE_INTERPRETER = ("PYTHON", "LD_", "LC_", "LANG", "MALLOC_")  # read when a program is executed, and never again


def can_fork(environment: dict[str, str], text: str = "") -> bool:
    """Whether a process with this environment, and this input, would be the same executed or forked."""
    return len(text) < PIPE_TAKES and _of_the_interpreter(environment) == _of_the_interpreter(dict(os.environ))


def _of_the_interpreter(environment: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(OF_THE_INTERPRETER)}


class Forked:
    """What ``subprocess.Popen`` offers, as far as tests use it."""

    def __init__(
        self,
        module: str,
        arguments: list[str],
        environment: dict[str, str],
        descriptors: dict[int, int],
        *,
        loaded: tuple[str, ...] = (),
    ) -> None:
        """``python -m module`` with these words. ``descriptors``: number there → what is here to have it.

        ``loaded`` names modules that are loaded beforehand, besides ``LOADED``.
        """
        self.returncode: int | None = None
        self._handle = -1
        reader, writer = os.pipe()
        self._status = os.fdopen(reader, "rb", buffering=0)
        request = Request(module, arguments, environment, str(Path.cwd()), _umask(), list(descriptors))
        packet = json.dumps(asdict(request)).encode()
        try:
            socket.send_fds(_server(*LOADED[module], *loaded), [packet], [*descriptors.values(), writer])
        finally:
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


def run(
    module: str, arguments: list[str], environment: dict[str, str], *, text: str = "", timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """As ``subprocess.run`` with captured output; ``text`` is its standard input. Raises subprocess.TimeoutExpired."""
    nothing, feed = os.pipe()
    os.write(feed, text.encode())  # no longer than the pipe takes at once: see can_fork
    os.close(feed)
    (out, out_end), (err, err_end) = os.pipe(), os.pipe()
    with open(out, "rb", 0) as output, open(err, "rb", 0) as errors:  # noqa: PTH123 - descriptors
        try:
            process = Forked(module, arguments, environment, {0: nothing, 1: out_end, 2: err_end})
        finally:
            for descriptor in (nothing, out_end, err_end):
                os.close(descriptor)
        try:
            captured = _read([output, errors], timeout_s)
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
    printed, complained = (io.TextIOWrapper(io.BytesIO(part)).read() for part in captured)
    return subprocess.CompletedProcess([module, *arguments], status, printed, complained)


def _read(files: list[io.FileIO], timeout_s: float) -> list[bytes]:
    """All of each."""
    deadline = time.monotonic() + timeout_s
    found = dict.fromkeys(files, b"")
    open_files = list(files)
    while open_files:
        ready, _, _ = select.select(open_files, [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise subprocess.TimeoutExpired("forked", timeout_s)
        for file in ready:
            part = file.read(CHUNK)
            found[file] += part
            if not part:
                open_files.remove(file)
    return list(found.values())


def _umask() -> int:
    found = re.search(r"^Umask:\s+(\d+)$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1], 8)


@cache
def _server(*loaded: str) -> socket.socket:
    """The fork server of this test process that has loaded these modules; it ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.forkserver", str(theirs.fileno()), *loaded],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    atexit.register(process.wait, END_S)
    atexit.register(ours.close)  # before that: it is what ends it
    return ours

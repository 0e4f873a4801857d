"""supervisord with a few sleeping programs, its command line, and raw XML-RPC over its Unix socket."""

from __future__ import annotations

import contextlib
import socket
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

PROGRAMS = 4
START_TIMEOUT_S = 20.0
CALL = b"<?xml version='1.0'?><methodCall><methodName>supervisor.getState</methodName><params/></methodCall>"
REQUEST = (
    b"POST /RPC2 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nContent-Type: text/xml\r\n"
    b"Content-Length: %d\r\n\r\n" % len(CALL)
) + CALL


@dataclass
class Supervisord:
    """A running supervisord."""

    pid: int
    bin: Path
    config: Path
    socket_path: Path

    @property
    def status(self) -> list[str]:
        """The command that shows its programs."""
        return [str(self.bin / "supervisorctl"), "-c", str(self.config), "status"]


@contextlib.contextmanager
def daemon() -> Iterator[Supervisord]:
    """Started and answering on entry, stopped at the end. Raises NotAvailableError."""
    programs = peer("supervisor")
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        path = directory / "s.sock"
        lines = [
            f"[unix_http_server]\nfile={path}",
            f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={directory}/pid",
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface",
            f"[supervisorctl]\nserverurl=unix://{path}",
            *(f"[program:sleep{number}]\ncommand=/bin/sleep infinity\nstartsecs=0" for number in range(PROGRAMS)),
        ]
        config = directory / "supervisord.conf"
        config.write_text("\n\n".join(lines) + "\n")
        process = subprocess.Popen(
            [programs / "supervisord", "-c", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            _await_socket(process, path)
            yield Supervisord(process.pid, programs, config, path)
        finally:
            stop(process)


def _await_socket(process: subprocess.Popen[bytes], path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
            return
        time.sleep(0.02)  # it has no way of saying that it is ready
    raise NotAvailableError("supervisord did not come up")


class RoundTrips:
    """A kept connection that asks supervisor.getState, in bytes made beforehand: the server is what is measured."""

    def __init__(self, path: Path) -> None:
        self._stream = socket.socket(socket.AF_UNIX)
        self._stream.connect(str(path))

    def once(self) -> None:
        """One call. Raises RuntimeError when the answer is no answer."""
        self._stream.sendall(REQUEST)
        data = b""
        while b"</methodResponse>" not in data:
            more = self._stream.recv(65536)
            if not more:
                raise RuntimeError("supervisord closed the connection")
            data += more

    def close(self) -> None:
        self._stream.close()

"""A home with a socket that answers as a test says, in the frames of the wire."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from hermesd.rpc.codec import Answer
from hermesd.rpc.wire import ConsoleParams, ConsoleResult


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """What the fast path sends."""

    jsonrpc: str
    id: int
    method: str
    params: ConsoleParams


@dataclass
class Listener:
    """Answers each connection's first msgpack frame with the bytes that ``answer`` makes; None means silence."""

    home: Path
    answer: Callable[[Request], bytes | None] = lambda _: result(0, "")
    requests: list[Request] = field(default_factory=list)

    def run(self, *argv: str, stdout: int = subprocess.PIPE, **env: str) -> subprocess.CompletedProcess[bytes]:
        """``hermesctl`` by its fast path, as its script runs it."""
        code = "import sys, hermesctl.fast as fast; fast.TIMEOUT_S = 2.0; sys.exit(fast.run(sys.argv))"
        return subprocess.run(
            [sys.executable, "-c", code, *argv],
            env={**os.environ, "HERMES_HOME": str(self.home), **env},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )


def result(status: int, text: str) -> bytes:
    """A framed answer as the server encodes it."""
    return frame(Answer(id=1, result=ConsoleResult(status=status, text=text)))


def frame(message: object) -> bytes:
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(4, "big") + body


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """A listening socket where hermesctl looks for one."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    found = Listener(home)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(home / "hermesd.sock"))
        sock.listen()
        thread = threading.Thread(target=_serve, args=(sock, found))
        thread.start()
        yield found
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(60)


def _serve(sock: socket.socket, listener: Listener) -> None:
    held = []
    while True:
        try:
            connection, _ = sock.accept()
        except OSError:
            break
        held.append(connection)
        with contextlib.suppress(OSError), connection.makefile("rb") as file:
            head = file.read(4)
            if head[:1] in (b"{", b""):
                connection.close()  # the parser's way: it is told that nobody serves it here
                continue
            request = msgspec.msgpack.decode(file.read(int.from_bytes(head, "big")), type=Request)
            listener.requests.append(request)
            answer = listener.answer(request)
            if answer is not None:
                connection.sendall(answer)
                connection.close()
    for connection in held:
        connection.close()

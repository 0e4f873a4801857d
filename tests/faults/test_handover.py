"""A restart as clients see it: what a supervisor keeps between two real daemons, and hands to the second."""

from __future__ import annotations

import array
import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesctl.fast import decode_answer, encode_request
from tests.servers import wedges
from tests.servers.daemon import Wire

ROOT = Path(__file__).parents[2]
ANSWER_S = 60.0


class Supervisor:
    """What systemd does for a service with a descriptor store: keeps what it is given, hands it to the next process."""

    def __init__(self, place: Path) -> None:
        self.home = place / "home"
        self.home.mkdir(mode=0o700)
        self.kept: list[tuple[str, int]] = []
        self.told: list[dict[str, str]] = []
        self._address = str(place / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._address)
        self._socket.settimeout(ANSWER_S)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def path(self) -> Path:
        return self.home / "hermesd.sock"

    def start(self, **environment: str) -> int:
        """Start a process with what is kept; returns when it has said READY, with its process id."""
        handed = [fd for _, fd in self.kept]
        names = ":".join(name for name, _ in self.kept)
        moves = " ".join(f"{3 + place}<&{fd}" for place, fd in enumerate(handed))
        command = f'LISTEN_PID=$$ LISTEN_FDS={len(handed)} LISTEN_FDNAMES={names} exec "$0" -m hermesd {moves}'
        high = [fd for fd in handed if fd < 3 + len(handed)]
        assert not high, "a descriptor would be overwritten before it is handed over"
        self._process = subprocess.Popen(
            ["bash", "-c", command, sys.executable],
            env={**os.environ, "HERMES_HOME": str(self.home), "NOTIFY_SOCKET": self._address, **environment},
            pass_fds=handed,
        )
        self.hear("READY")
        return self._process.pid

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(ANSWER_S)
        self.drop_what_was_said()

    def drop_what_was_said(self) -> None:
        """Take in what is there already."""
        while self.says_anything_within(0):
            self._hear_one()

    def says_anything_within(self, seconds: float) -> bool:
        return bool(select.select([self._socket], [], [], seconds)[0])

    def hear(self, key: str) -> None:
        """Listen until this variable is told."""
        while key not in self._hear_one():
            pass

    def _hear_one(self) -> dict[str, str]:
        text, ancillary, _, _ = self._socket.recvmsg(4096, 1024)
        message = dict(line.split("=", 1) for line in text.decode().splitlines())
        self.told.append(message)
        descriptors = array.array("i")
        for _, _, data in ancillary:
            descriptors.frombytes(data)
        for fd in descriptors:
            high = 100 + len(self.told)  # out of the way of those it is moved to
            os.dup2(fd, high)
            os.close(fd)
            self.kept.append((message["FDNAME"], high))
        if message.get("FDSTOREREMOVE"):
            for name, fd in [item for item in self.kept if item[0] == message["FDNAME"]]:
                os.close(fd)
                self.kept.remove((name, fd))
        return message

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for _, fd in self.kept:
            os.close(fd)
        self._socket.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    found = Supervisor(tmp_path)
    yield found
    found.end()


def connect(path: Path) -> socket.socket:
    found = socket.socket(socket.AF_UNIX)
    found.settimeout(ANSWER_S)
    found.connect(str(path))
    return found


@contextlib.contextmanager
def connected(path: Path) -> Iterator[Wire]:
    with connect(path) as connection, contextlib.closing(Wire(connection)) as wire:
        yield wire


def ask_in_msgpack(connection: socket.socket) -> int:
    connection.sendall(encode_request(["version"], 0, False))
    with connection.makefile("rb") as file:
        size = int.from_bytes(file.read(4), "big")
        return decode_answer(file.read(size))[0]


def test_idle_clients_go_on_with_the_next_process_and_new_ones_wait_for_it(supervisor: Supervisor) -> None:
    """In whatever encoding they speak, and with what they have sent in between."""
    first = supervisor.start()
    silent, text, packed = (connect(supervisor.path) for _ in range(3))
    assert ask_in_msgpack(packed) == 0
    wire = Wire(text)
    assert wire.call("rpc.hello")["pid"] == first
    supervisor.stop()
    assert sorted(name for name, _ in supervisor.kept) == [
        "hermesd-client-json",
        "hermesd-client-msgpack",
        "hermesd-client-new",
        "hermesd-listener",
    ]
    text.sendall(b"  \n")  # no first byte of a connection, but a blank line within one
    asked = wire.send("rpc.hello")
    late = connect(supervisor.path)
    second = supervisor.start()
    assert second != first
    assert wire.result(asked)["pid"] == second
    assert ask_in_msgpack(packed) == 0
    assert Wire(silent).call("rpc.hello")["pid"] == second
    assert Wire(late).call("rpc.hello")["pid"] == second
    assert [name for name, _ in supervisor.kept] == ["hermesd-listener"]
    for connection in (silent, text, packed, late):
        connection.close()


def test_after_a_kill_only_the_listener_is_left_and_nobody_is_refused(supervisor: Supervisor) -> None:
    """Clients of the killed process see the end; who connects meanwhile waits."""
    first = supervisor.start()
    wire = Wire(connect(supervisor.path))
    assert wire.call("rpc.hello")["pid"] == first
    supervisor.stop(signal.SIGKILL)
    with pytest.raises(ConnectionError):
        wire.call("rpc.hello")
    late = connect(supervisor.path)
    second = supervisor.start()
    assert Wire(late).call("rpc.hello")["pid"] == second
    wire.sock.close()
    late.close()


def test_a_client_in_the_middle_of_something_is_not_handed_over(supervisor: Supervisor) -> None:
    """Half a frame was read already, or a stream is cut with a word about it."""
    supervisor.start()
    half = connect(supervisor.path)
    half.sendall(b'{"jsonrpc":"2.0","id":1,')
    follower = Wire(connect(supervisor.path))
    request = follower.send("events.watch")
    assert follower.call("rpc.hello")  # by now the stream runs, and the half frame has been read
    supervisor.stop()
    names = [name for name, _ in supervisor.kept]
    assert names.count("hermesd-client-json") == 1, names
    answer = follower.read()
    while answer.get("id") != request:
        answer = follower.read()
    assert answer["error"]["code"] == -32004
    second = supervisor.start()
    assert follower.call("rpc.hello")["pid"] == second
    assert half.recv(100) == b""
    half.close()
    follower.sock.close()


def test_a_store_that_hangs_ends_the_signs_of_life_until_it_goes_on(supervisor: Supervisor, tmp_path: Path) -> None:
    """The loop turns all the while: it answers clients."""
    pipe = tmp_path / "pipe"
    (tmp_path / "inject").mkdir()
    (tmp_path / "inject/sitecustomize.py").write_text(wedges.store(str(pipe)))
    pid = supervisor.start(PYTHONPATH=f"{tmp_path / 'inject'}{os.pathsep}{ROOT}", WATCHDOG_USEC="500000")
    supervisor.hear("WATCHDOG")
    with connected(supervisor.path) as log, connected(supervisor.path) as other:
        log.send("logs.follow", lines=0)
        os.mkfifo(pipe)
        while "no sign of life" not in log.until("logs.line")["line"]:
            pass
        supervisor.drop_what_was_said()
        assert other.call("rpc.hello")["pid"] == pid
        assert not supervisor.says_anything_within(1.5)
        with pipe.open() as reader:
            reader.read()
        pipe.unlink()
        supervisor.hear("WATCHDOG")


def test_a_stop_and_a_reload_are_announced(supervisor: Supervisor) -> None:
    """RELOADING then READY again; STOPPING also when a client asks for it."""
    pid = supervisor.start()
    os.kill(pid, signal.SIGHUP)
    supervisor.hear("RELOADING")
    supervisor.hear("READY")
    (supervisor.home / "config.yaml").write_text("agent: {max_turns: -")
    os.kill(pid, signal.SIGHUP)
    supervisor.hear("READY")
    assert "refused" in supervisor.told[-1]["STATUS"] or "failed" in supervisor.told[-1]["STATUS"]
    with connected(supervisor.path) as wire:
        wire.call("daemon.stop")
        supervisor.hear("STOPPING")

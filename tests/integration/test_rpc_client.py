"""The synchronous client, and other people's clients, against a served panel."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio

from hermesctl.client import Client, RemoteError
from hermesd.errors import ConflictError, DeniedError, NotFoundError, UnreachableError, UsageError
from hermesd.rpc.wire import StatusResult
from tests.servers.served import Served, serve

T = TypeVar("T")


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serve(tmp_path / "home") as found:
        yield found


async def in_thread(work: Callable[[], T]) -> T:
    with trio.fail_after(30):
        return await trio.to_thread.run_sync(work, abandon_on_cancel=True)


async def test_calls_return_dictionaries_and_typed_helpers_structs(served: Served) -> None:
    """By one connection."""

    def work() -> None:
        with Client.connect(served.panel.home.root) as client:
            assert client.call("daemon.status")["pid"] == os.getpid()
            status = client.status()
            assert isinstance(status, StatusResult)
            assert status.profiles[0].name == "default"
            assert client.hello().role == "owner"
            assert client.tree().root.name == "hermesd"
            assert [row.name for row in client.profiles().profiles] == ["default"]

    await in_thread(work)


async def test_errors_come_back_as_their_classes(served: Served) -> None:
    """With place, next step and exit status; the connection goes on."""

    def work() -> None:
        with Client.connect(served.panel.home) as client:
            with pytest.raises(NotFoundError) as missing:
                client.call("service.stop", {"name": "x"})
            assert (missing.value.where, missing.value.exit_status) == ("service.stop", 1)
            assert missing.value.next_step
            with pytest.raises(UsageError) as wrong:
                client.call("service.stop", {"nome": "x"})
            assert wrong.value.exit_status == 2
            with pytest.raises(ConflictError):
                client.call("events.watch", {"since": 10**6})
            with pytest.raises(RemoteError) as unknown:
                client.call("no.such.method")
            assert (unknown.value.rpc_code, unknown.value.exit_status) == (-32601, 2)
            assert client.call("rpc.ping") == {}

    await in_thread(work)


async def test_a_stream_gives_updates_and_can_be_left_by_an_exception(served: Served) -> None:
    """What the callback raises comes out, and the connection is closed with it."""

    class EnoughError(Exception):
        pass

    seen: list[dict[str, object]] = []

    def take(update: dict[str, object]) -> None:
        seen.append(update)
        if len(seen) == 3:
            raise EnoughError

    def work() -> None:
        with Client.connect(served.panel.home) as client, pytest.raises(EnoughError):
            client.stream("events.watch", {}, take)

    for number in range(3):
        await served.panel.store.record_event("test", subject=str(number))
    await in_thread(work)
    assert [update["event"]["subject"] for update in seen] == ["0", "1", "2"]


def test_without_a_daemon_the_next_step_is_to_start_it(tmp_path: Path) -> None:
    """Whether there is no socket or a dead one; exit status 69."""
    with pytest.raises(UnreachableError) as caught:
        Client.connect(tmp_path)
    assert caught.value.exit_status == 69
    assert "hermesd" in caught.value.next_step
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "hermesd.sock"))
    with pytest.raises(UnreachableError):
        Client.connect(tmp_path)


@pytest.mark.parametrize(
    "answer",
    [b"", b"nonsense\n", b'{"jsonrpc":"2.0","id":1'],
    ids=["nothing", "nonsense", "half an answer"],
)
def test_a_server_that_breaks_off_is_unreachable(tmp_path: Path, answer: bytes) -> None:
    """Not a traceback."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "hermesd.sock"))
        listening.listen()

        def serve_badly() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve_badly)
        thread.start()
        with Client.connect(tmp_path) as client, pytest.raises(UnreachableError):
            client.call("rpc.ping")
        thread.join()


def test_a_daemon_that_does_not_answer_is_unreachable_after_the_timeout(tmp_path: Path) -> None:
    """It listens and is stuck."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "hermesd.sock"))
        listening.listen()
        with Client.connect(tmp_path, timeout_s=0.05) as client, pytest.raises(UnreachableError, match=r"0\.05 s"):
            client.call("rpc.ping")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a home to somebody else and listen as a third")
def test_a_stranger_who_listens_at_the_socket_is_not_talked_to(tmp_path: Path) -> None:
    """His uid is neither ours, nor root's, nor the home owner's."""
    code = (
        "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); os.setuid(12345);"
        "s.listen(); print('ready', flush=True); sys.stdin.read()"
    )
    path = str(tmp_path / "hermesd.sock")
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as stranger:
        assert stranger.stdout is not None
        stranger.stdout.readline()
        with pytest.raises(DeniedError, match="uid 12345"):
            Client.connect(tmp_path)
        stranger.kill()


def test_importing_the_client_imports_nothing_heavy() -> None:
    """A script that uses it untyped starts without msgspec."""
    code = "import sys, hermesctl.client; print(sorted({'msgspec', 'trio', 'asyncio'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


HELLO = '{"jsonrpc": "2.0", "id": 1, "method": "rpc.hello"}'


@pytest.mark.skipif(shutil.which("nc") is None, reason="netcat-openbsd is not installed")
async def test_the_shell_example_with_nc_works(served: Served) -> None:
    """As docs/rpc.md has it."""
    assert await pid_told_to(f"echo '{HELLO}' | nc -N -U {served.path}") == os.getpid()


@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
async def test_the_shell_example_with_socat_works(served: Served) -> None:
    """As docs/rpc.md has it."""
    assert await pid_told_to(f"echo '{HELLO}' | socat -t5 - UNIX-CONNECT:{served.path}") == os.getpid()


async def pid_told_to(command: str) -> int:
    with trio.fail_after(60):
        done = await trio.run_process(["sh", "-c", command], capture_stdout=True)
    return int(json.loads(done.stdout)["result"]["pid"])

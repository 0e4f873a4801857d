"""Hostile and clumsy clients against a real daemon: it lives, stays small, and serves the others."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesctl.client import Client
from hermesd.errors import RestartError, UnreachableError
from tests.servers.daemon import Daemon

PING = b'{"jsonrpc":"2.0","id":1,"method":"rpc.ping"}\n'
PONG = b'{"jsonrpc":"2.0","id":1,"result":{}}\n'
IDLE_CONNECTIONS = 5000


@pytest.fixture
def running(daemon: Daemon) -> Daemon:
    """A daemon, started and warm."""
    daemon.start()
    with Client.connect(daemon.home) as client:
        client.call("daemon.status")
    return daemon


@contextlib.contextmanager
def many_descriptors() -> Iterator[None]:
    """As many descriptors as we may have, for the clients."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def connect(daemon: Daemon) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(daemon.socket_path))
    return client


def ask(client: socket.socket) -> bytes:
    client.sendall(PING)
    return client.recv(1000)


def has_answer(client: socket.socket, within_s: float) -> bool:
    """select(2) cannot look at descriptors over 1023."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_million_pipelined_requests_take_two_megabytes_at_most_and_others_are_served(running: Daemon) -> None:
    """All are answered; meanwhile another client gets its answers one after the other, none of them at the end only."""
    with connect(running) as warm:
        pump(warm, 20_000)
    before = rss_kib(running.pid)
    slowest, answered, done = 0.0, 0, threading.Event()
    with connect(running) as flood, connect(running) as other:
        thread = threading.Thread(target=lambda: (pump(flood, 1_000_000), done.set()))
        started = time.monotonic()
        thread.start()
        peak = 0
        while not done.wait(0.01):
            begun = time.monotonic()
            assert ask(other) == PONG
            slowest, answered = max(slowest, time.monotonic() - begun), answered + 1
            peak = max(peak, rss_kib(running.pid))
        took = time.monotonic() - started
        thread.join()
    assert peak - before <= 2048
    assert answered >= 20
    assert slowest < took / 10


def pump(client: socket.socket, count: int) -> None:
    """Send as fast as it takes them, read as it comes; returns when the last answer is here."""
    client.setblocking(False)
    wanted, received = count * len(PONG), 0
    block = PING * 2000
    to_send, unsent = count * len(PING), memoryview(block)
    while received < wanted:
        readable, writable, _ = select.select([client], [client] if to_send else [], [], 30)
        assert readable or writable, "the server has stopped answering"
        if readable:
            data = client.recv(262144)
            assert data
            received += len(data)
        if writable:
            sent = client.send(unsent[: min(len(unsent), to_send)])
            to_send -= sent
            unsent = unsent[sent:] or memoryview(block)


def test_a_client_that_floods_and_never_reads_is_not_read_any_more(running: Daemon) -> None:
    """What waits for it is bounded, and so is what it can send."""
    before = rss_kib(running.pid)
    with connect(running) as rude, connect(running) as other:
        rude.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(10_000):
                rude.sendall(PING * 2000)
        assert ask(other) == PONG
        assert rss_kib(running.pid) - before <= 2048
    with connect(running) as again:
        assert ask(again) == PONG


def test_slow_calls_that_are_never_read_are_bounded(running: Daemon) -> None:
    """Thousands of large answers asked for: only as many are made as a connection may have under way."""
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "rpc.schema"}).encode() + b"\n"
    slow = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "daemon.doctor"}).encode() + b"\n"
    before = rss_kib(running.pid)
    with connect(running) as rude, connect(running) as other:
        rude.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(100_000):
                rude.sendall((request + slow) * 100)
        assert ask(other) == PONG
        assert rss_kib(running.pid) - before <= 8 * 1024


def test_thousands_of_idle_connections_are_cheap_and_in_nobodys_way(running: Daemon) -> None:
    """5,000 of them, or as many as descriptors allow: at most 12 KiB each, and no processor time."""
    with many_descriptors():
        hard = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (hard, hard))
        count = min(IDLE_CONNECTIONS, hard - 200)
        before = rss_kib(running.pid)
        with contextlib.ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(connect(running))
            last = stack.enter_context(connect(running))
            assert ask(last) == PONG
            grown = rss_kib(running.pid) - before
            spent = cpu_seconds(running.pid)
            assert not has_answer(last, 0.5)
            assert cpu_seconds(running.pid) - spent < 0.25  # what spins takes half a second of it
            assert grown / count <= 12
    with connect(running) as later:
        assert ask(later) == PONG


def test_without_descriptors_it_waits_instead_of_spinning_and_says_so_once(running: Daemon) -> None:
    """Those who are connected are served; those who wait are served as soon as somebody leaves."""
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (64, 64))
    clients = [connect(running) for _ in range(100)]
    try:
        assert ask(clients[0]) == PONG
        waiting = clients[-1]
        waiting.sendall(PING)
        spent = cpu_seconds(running.pid)
        assert not has_answer(waiting, 2.5)
        assert cpu_seconds(running.pid) - spent < 1.0  # what spins takes two and a half
        assert ask(clients[0]) == PONG
        for client in clients[:-1]:
            client.close()
        assert waiting.recv(1000) == PONG
    finally:
        for client in clients:
            client.close()
    log = (running.home / "logs" / "hermesd.log").read_text()
    assert log.count("no more connections can be accepted") == 1


def test_a_stop_ends_streams_with_a_word_and_leaves_no_socket(running: Daemon) -> None:
    """The watcher is told that the daemon stops; afterwards nobody answers."""
    told: list[Exception] = []

    def watch() -> None:
        try:
            with Client.connect(running.home) as client:
                client.stream("events.watch", {}, lambda update: seen.set())
        except (RestartError, UnreachableError) as error:
            told.append(error)

    seen = threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    with Client.connect(running.home) as client:
        client.call("chat.send", {"text": "hello", "wait": False})
        assert seen.wait(60)
        client.call("daemon.stop")
    assert running.process is not None
    assert running.process.wait(60) == 0
    thread.join(60)
    assert [type(error) for error in told] == [RestartError]
    assert not running.socket_path.exists()
    with pytest.raises(UnreachableError):
        Client.connect(running.home)


@pytest.mark.parametrize(
    "data",
    [
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"{" * 10_000 + b"\n",
        b"[" * 10_000,
        b"\x00",
        os.urandom(100_000),
        b"\xc1" * 99,
    ],
    ids=["length 0", "length 2^32-1", "braces", "brackets", "half a length", "noise", "never used"],
)
def test_garbage_ends_its_own_connection_only(running: Daemon, data: bytes) -> None:
    """The daemon and another connection live on."""
    with connect(running) as other, connect(running) as bad:
        with contextlib.suppress(ConnectionError):
            bad.sendall(data)
            bad.shutdown(socket.SHUT_WR)
            while bad.recv(65536):
                pass
        assert ask(other) == PONG

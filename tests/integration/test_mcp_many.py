"""Fifty MCP servers under one real hermesd: started together, idle, ended together, left behind by a kill.

HERMESD_SOAK=1 takes fifty node servers too, watches idleness for longer, and holds the figures of the acceptance table.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hermesd.home import Home
from hermesd.tools.terminal.leftovers import Mark, find, tag_prefix
from tests.servers import everything
from tests.servers.daemon import MCP, Daemon
from tests.servers.wakeups import wakeups

pytestmark = pytest.mark.loaded(MCP)

SOAK = bool(os.environ.get("HERMESD_SOAK"))
MINIMAL = str(Path(__file__).parents[1] / "servers" / "mcp_minimal.py")
COUNT = 50


def minimal(*modes: str) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-I", "-S", MINIMAL, *modes]}


def config(servers: dict[str, dict[str, Any]]) -> str:
    return json.dumps({"mcp_servers": servers, "shutdown": {"drain_s": 1.0, "stop_s": 5.0}})


def alive(daemon: Daemon) -> list[int]:
    """Processes of this home's servers."""
    return [pid for pid in find(Mark(tag_prefix(Home(daemon.home).root))) if pid != daemon.pid]


@contextmanager
def asking(daemon: Daemon, took: list[float]) -> Iterator[None]:
    """Somebody who asks the daemon for its state all the time, and notes in seconds how long each answer takes."""
    over = threading.Event()

    def ask() -> None:
        with daemon.connect() as wire:
            while not over.wait(0.005):
                began = time.perf_counter()
                wire.call("daemon.status")
                took.append(time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def ticks(daemon: Daemon) -> int:
    """Hundredths of a second of processor time so far."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def start_all(daemon: Daemon, servers: dict[str, dict[str, Any]]) -> tuple[float, list[float]]:
    """Seconds from READY until each has a session, and what requests took meanwhile."""
    daemon.write_config(config(servers))
    took: list[float] = []
    daemon.start()
    began = time.perf_counter()
    with asking(daemon, took):
        for name in servers:
            found = daemon.call("mcp.test", name=name)
            assert found["ok"], found
    return time.perf_counter() - began, took


def test_fifty_servers_start_together_idle_for_nothing_and_end_together(daemon: Daemon) -> None:
    """S8, P4, S9: the daemon answers meanwhile; five that ignore SIGTERM and the end of input are gone too."""
    servers = {f"m{n}": minimal("deaf", "stay") if n < 5 else minimal() for n in range(COUNT)}
    seconds, took = start_all(daemon, servers)
    assert p99(took) < seconds / 4, "nobody waits for the servers to be up"
    if SOAK:
        assert seconds < 4.0  # 1.5 s on a machine that does nothing else: see the benchmarks
        assert p99(took) < 0.05
    assert len(alive(daemon)) == COUNT
    watched_s = 30.0 if SOAK else 1.0
    woken, before = wakeups(daemon.pid), ticks(daemon)
    time.sleep(watched_s)  # in which nothing is to happen
    assert wakeups(daemon.pid) - woken < 20 * watched_s, "nothing polls"
    if SOAK:
        assert ticks(daemon) - before <= 0.5 * watched_s + 2  # 0.5 % and the granularity of the clock
    began = time.perf_counter()
    assert daemon.stop() == 0
    if SOAK:
        assert time.perf_counter() - began < 5
    assert alive(daemon) == []


@pytest.mark.skipif(not SOAK, reason="3 GB and a minute: make mcp-soak")
def test_fifty_node_servers_start_together(daemon: Daemon) -> None:
    """S8 with npm server-everything."""
    command = {"command": "node", "args": [str(everything.program()), "stdio"]}
    seconds, took = start_all(daemon, {f"e{n}": command for n in range(COUNT)})
    print(f"50 node servers: {seconds:.1f} s, requests meanwhile p99 {1e3 * p99(took):.0f} ms")
    assert p99(took) < 0.05
    assert daemon.stop() == 0
    assert alive(daemon) == []


def test_servers_of_a_killed_daemon_are_reaped_by_the_next_start(daemon: Daemon) -> None:
    """S6: twenty, none of which ends by itself; none is alive after the next start, which waits for that."""
    start_all(daemon, {f"m{n}": minimal("deaf", "stay") for n in range(20)})
    daemon.kill()
    assert len(alive(daemon)) == 20
    daemon.write_config("mcp_servers: {}\n")
    began = time.perf_counter()
    daemon.start()
    assert alive(daemon) == []
    if SOAK:
        assert time.perf_counter() - began < 2


def test_a_line_above_the_cap_costs_no_more_than_the_cap(daemon: Daemon) -> None:
    """P2: 60 MB of room beside it, and other servers keep their processes."""
    cap = 32_000_000
    start_all(daemon, {"s": {**minimal(), "max_message_bytes": cap}, "other": minimal()})
    pid = daemon.call("mcp.show", name="other")["pid"]
    before = memory(daemon, "VmRSS")
    found = daemon.call("mcp.call", name="s", tool="big", arguments={"bytes": 2 * cap})
    assert found["is_error"]
    assert "more than 32000000 bytes" in found["text"]
    assert memory(daemon, "VmHWM") - before <= cap + 60_000_000
    assert daemon.call("mcp.call", name="s", tool="echo", arguments={"text": "again"})["text"] == "again"
    assert daemon.call("mcp.show", name="other")["pid"] == pid


def memory(daemon: Daemon, field: str) -> int:
    """Bytes of resident memory: now (VmRSS) or at the most (VmHWM)."""
    for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)

"""MCP servers under supervision (bench.mcp), and fifty of them under one hermesd; the bare SDK does the same beside.

The targets are those of the acceptance table (S1–S3, S8, S9, P1, P2, P4, L1, H1); times are milliseconds unless said.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import figures, mcp_servers
from bench.daemon import running, stop, write_home
from bench.environments import NotAvailableError
from bench.measure import p99

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.daemon import Hermesd
    from bench.figures import Figure

SDK = "the bare SDK"
COUNT = 50
IGNORE_TERM = 5
IDLE_S = 20.0
NO_RECONNECT = (
    "the bare SDK notices no idle death and has no reconnect; beside: its own time for a new session and call"
)


def run(*, runs: int, peers: bool) -> list[Figure]:
    del peers  # the SDK is the peer, and installed with ours
    done = subprocess.run([sys.executable, "-m", "bench.mcp", str(runs)], check=True, capture_output=True)
    found = json.loads(done.stdout)
    modes = [("deaf", "stay") if number < IGNORE_TERM else () for number in range(COUNT)]
    rows = _single(found) + _together("minimal", [mcp_servers.minimal(*each) for each in modes], found)
    try:
        rows += _together("server-everything", [mcp_servers.everything()] * COUNT, None)
        rows.append(_alone(mcp_servers.everything()))
    except NotAvailableError as error:
        rows.append(figures.not_run(f"{COUNT} node servers", str(error)))
    return rows


def _single(found: dict[str, Any]) -> list[Figure]:
    """One server at a time."""
    told, calls, large = found["mid_call"], found["calls"], found["large_line"]
    return [
        _span("S1: killed in mid-call, the caller is told", told["ours"], 50, told["bare"]),
        *_kills("minimal server", found["minimal"], 150),
        *_kills("server-everything", found["everything"], 700),
        *_kills("mcp-server-time", found["clock"], 2000),
        figures.Figure("P1: processor time of a call", calls["ours_us"], "µs", SDK, calls["bare_us"]),
        figures.plain("P1: of it added to the bare SDK's", calls["added_us"], "µs", at_most=100),
        _bounded("P2: a line of 40 MB", 1e3 * large["ours"], 1000, 1e3 * large["bare"]),
        _span("L1: five list_changed in a burst, the new tool is known", found["changed_list"], 500),
        figures.beside(
            "S10: p99 of calls to 20 good servers beside 5 bad ones",
            1e3 * found["neighbours"]["beside"],
            "ms",
            "the same without the bad ones",
            1e3 * found["neighbours"]["alone"],
            at_most=2,
        ),
        _span("H1: HTTP server back, the next call is answered", found["http"], 1000),
    ]


def _kills(name: str, found: dict[str, Any] | str, at_most_ms: float) -> list[Figure]:
    what = f"S3: {name} killed idle, the next call is answered"
    if isinstance(found, str):
        return [figures.not_run(what, found)]
    answered = _span(what, found["answered"], at_most_ms, found["started"], note=NO_RECONNECT)
    return [_span(f"S2: {name} killed idle, noticed", found["noticed"], 100), answered]


def _span(
    what: str, times_s: Sequence[float], at_most_ms: float, other: Sequence[float] | None = None, note: str = ""
) -> Figure:
    """The time that one in a hundred exceeds."""
    beside = 1e3 * other[1] if other else None
    return _bounded(f"{what}, p99", 1e3 * times_s[1], at_most_ms, beside, note)


def _bounded(what: str, value: float, at_most: float, other: float | None = None, note: str = "") -> Figure:
    return figures.Figure(
        what, value, "ms", SDK if other else "", other, f"≤ {at_most:,g} ms", met=value <= at_most, note=note
    )


# -- fifty under one daemon --------------------------------------------------------------------------------------------


def _together(name: str, commands: list[list[str]], bare: dict[str, Any] | None) -> list[Figure]:
    """Start, idle and stop; the minimal ones' figures are those with all targets."""
    servers = {f"s{number}": {"command": each[0], "args": each[1:]} for number, each in enumerate(commands)}
    with tempfile.TemporaryDirectory() as directory:
        home = write_home(Path(directory) / "home", json.dumps({"mcp_servers": servers}))
        with running(home) as daemon:
            took: list[float] = []
            begun = time.perf_counter()
            with _asking(daemon, took), daemon.connect() as connection:
                for tested in connection.call_each("mcp.test", [{"name": server} for server in servers]):
                    if not tested["ok"]:
                        raise RuntimeError(tested["error"])
            start_ms = (time.perf_counter() - begun) * 1e3
            share = _idle_share(daemon.pid) if bare is not None else None
            begun = time.perf_counter()
            stop(daemon.process)
            stop_ms = (time.perf_counter() - begun) * 1e3
    is_minimal = bare is not None
    other = 1e3 * bare["bare_together"] if bare is not None else None
    of = f"{COUNT} × {name}"
    rows = [
        _bounded(f"S8: {of} started together", start_ms, 1500 if is_minimal else 10_000, other),
        _bounded(f"S8: {of}, the daemon's answers meanwhile, p99", 1e3 * p99(took), 50),
        _bounded(f"S9: {of} stopped{f', {IGNORE_TERM} ignore SIGTERM' if is_minimal else ''}", stop_ms, 5000),
    ]
    if bare is not None:
        what = "the bare SDK's import, which its time above leaves out and ours does not"
        rows.append(figures.plain(what, 1e3 * bare["bare_import"], "ms"))
    if share is not None:
        rows.append(figures.plain(f"P4: {of} idle, the daemon's processor time", 100 * share, "%", at_most=0.5))
    return rows


def _alone(command: list[str]) -> Figure:
    """The same programs without anybody's client: started, asked for their name by hand and answered, two at once."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}}
    line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}).encode() + b"\n"

    def start(_: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line)
        process.stdout.read(1)
        return process

    begun = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        processes = list(pool.map(start, range(COUNT)))
    took_ms = (time.perf_counter() - begun) * 1e3
    for process in processes:
        process.kill()
        process.wait()
    return figures.plain(f"{COUNT} × server-everything, nothing but the programs themselves", took_ms, "ms")


@contextlib.contextmanager
def _asking(daemon: Hermesd, took: list[float]) -> Iterator[None]:
    """A client that asks for the daemon's state every 5 ms, and notes in seconds how long the answers take."""
    over = threading.Event()

    def ask() -> None:
        with daemon.connect() as connection:
            while not over.wait(0.005):
                begun = time.perf_counter()
                connection.call("daemon.status")
                took.append(time.perf_counter() - begun)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _idle_share(pid: int) -> float:
    """Processor time of a process while we sleep, as a share of that time; to half a thousandth."""
    time.sleep(2.0)
    before = _spent_s(pid)
    time.sleep(IDLE_S)
    return (_spent_s(pid) - before) / IDLE_S


def _spent_s(pid: int) -> float:
    """Of all threads, those that have ended too (proc_pid_stat(5): utime, stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

"""Requests over the socket: ours beside a bare Trio echo (bench.rpc), supervisor's XML-RPC and circus."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import figures, rpc
from bench.daemon import running, write_home
from bench.environments import NotAvailableError
from bench.measure import median
from bench.peers import circus, supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.figures import Figure

SECONDS = 1.5


def run(*, runs: int, peers: bool) -> list[Figure]:
    found = rpc.measure(SECONDS, runs)
    rows = [
        figures.beside(
            "requests a second, one connection",
            found["ours sequential /s"],
            "/s",
            "bare Trio echo",
            found["echo sequential /s"],
            at_least=0.8,
        ),
        _rate("requests a second, 32 connections, 1 under way on each", found, "32 at once x1 /s", 40_000),
        _rate("requests a second, 32 connections, 8 under way on each", found, "32 at once x8 /s", 40_000),
        _rate("a connection for each request, one at a time", found, "connecting x1 /s", 5_000),
        _rate("a connection for each request, 32 at a time", found, "connecting x32 /s", 5_000),
        figures.beside(
            "memory of an idle connection",
            found["ours KiB an idle connection"],
            "KiB",
            "bare Trio echo",
            found["echo KiB an idle connection"],
        ),
    ]
    return rows + (_beside_peers() if peers else [])


def _rate(what: str, found: dict[str, float], key: str, at_least: float) -> Figure:
    ours, echo = found[f"ours {key}"], found[f"echo {key}"]
    return figures.Figure(what, ours, "/s", "bare Trio echo", echo, f"≥ {at_least:,.0f} /s", ours >= at_least)


def _beside_peers() -> list[Figure]:
    """The daemon as it runs, beside those of others: one request after another on one connection, medians."""
    rows = []
    what = "round trip to the daemon, one connection"
    with tempfile.TemporaryDirectory() as name, running(write_home(Path(name) / "home")) as hermesd:
        path = hermesd.home / "hermesd.sock"
        for other, measure in {
            "supervisor, XML-RPC getState": _supervisor,
            "circus, numwatchers": _circus,
        }.items():
            try:
                with measure() as theirs:
                    ours, others = [], []
                    for _ in range(3):
                        ours += rpc.sequential(path, SECONDS / 3)[1]
                        others += theirs(SECONDS / 3)
            except NotAvailableError as error:
                rows.append(figures.not_run(f"{what}, beside {other}", str(error)))
            else:
                rows.append(figures.beside(what, median(ours), "µs", other, median(others)))
    return rows


@contextlib.contextmanager
def _circus() -> contextlib.AbstractContextManager[Callable[[float], list[float]]]:
    with circus.daemon() as daemon:
        yield daemon.round_trips


@contextlib.contextmanager
def _supervisor() -> contextlib.AbstractContextManager[Callable[[float], list[float]]]:
    with supervisor.daemon() as daemon, contextlib.closing(supervisor.RoundTrips(daemon.socket_path)) as client:

        def round_trips(seconds: float) -> list[float]:
            times: list[float] = []
            begun = before = time.perf_counter()
            while before - begun < seconds:
                client.once()
                after = time.perf_counter()
                times.append((after - before) * 1e6)
                before = after
            return times

        yield round_trips

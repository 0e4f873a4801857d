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
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from bench.figures import Figure

    RoundTrips = Callable[[float], list[float]]

SECONDS = 0.3
"""Short turns, many rounds: what else the machine does falls on ours and on the others alike."""

CLIENT = "the client, a Python process that waits for each answer, is the limit here: the echo does no more"


def run(*, runs: int, peers: bool) -> list[Figure]:
    found = rpc.measure(SECONDS, runs)
    rows = [
        figures.beside(
            "a request on one connection, median",
            found["ours sequential p50 us"],
            "µs",
            "bare Trio echo",
            found["echo sequential p50 us"],
            at_most=1.25,
            note="1.25 × the time is 80 % of the rate",
        ),
        _rate("requests a second, 32 connections, 8 under way on each", found, "32 at once x8 /s", 40_000),
        _rate("requests a second, 32 connections, 1 under way on each", found, "32 at once x1 /s", note=CLIENT),
        _rate("a connection for each request, 32 at a time", found, "connecting x32 /s", 5_000),
        _rate("a connection for each request, one at a time", found, "connecting x1 /s", note=CLIENT),
        figures.beside(
            "memory of an idle connection",
            found["ours KiB an idle connection"],
            "KiB",
            "bare Trio echo",
            found["echo KiB an idle connection"],
        ),
    ]
    return rows + (_beside_peers() if peers else [])


def _rate(what: str, found: dict[str, float], key: str, at_least: float = 0.0, *, note: str = "") -> Figure:
    ours, echo = found[f"ours {key}"], found[f"echo {key}"]
    target, met = (f"≥ {at_least:,.0f} /s", ours >= at_least) if at_least else ("", None)
    return figures.Figure(what, ours, "/s", "bare Trio echo", echo, target, met, note)


def _beside_peers() -> list[Figure]:
    """The daemon as it runs, beside those of others: one request after another on one connection, medians."""
    rows = []
    what = "round trip to the daemon, one connection"
    with tempfile.TemporaryDirectory() as name, running(write_home(Path(name) / "home")) as hermesd:
        path = hermesd.home / "hermesd.sock"
        peers: dict[str, Callable[[], AbstractContextManager[RoundTrips]]] = {
            "supervisor, XML-RPC getState": _supervisor,
            "circus, numwatchers": _circus,
        }
        for other, measure in peers.items():
            try:
                with measure() as theirs:
                    ours, others = [], []
                    for _ in range(3):
                        ours += rpc.sequential(path, SECONDS)[1]
                        others += theirs(SECONDS)
            except NotAvailableError as error:
                rows.append(figures.not_run(f"{what}, beside {other}", str(error)))
            else:
                rows.append(figures.beside(what, median(ours), "µs", other, median(others)))
    return rows


@contextlib.contextmanager
def _circus() -> Iterator[RoundTrips]:
    with circus.daemon() as daemon:
        yield daemon.round_trips


@contextlib.contextmanager
def _supervisor() -> Iterator[RoundTrips]:
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

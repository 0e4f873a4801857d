"""What a daemon that has nothing to do weighs, and how often it wakes."""

from __future__ import annotations

import contextlib
import functools
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench import figures
from bench.daemon import running, write_home
from bench.environments import NotAvailableError
from bench.measure import rss_mb, switches
from bench.peers import circus, hermes_agent, supervisor

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from bench.figures import Figure

CONFIG = "model: {provider: offline}\n"
MANY = 100
SETTLE_S = 12.0
"""Idle worker threads of Trio end after 10 s; that is the last thing a start leaves to happen."""
WATCHED_S = 10.0


class HasPid(Protocol):
    """A running daemon."""

    pid: int


def run(*, runs: int, peers: bool) -> list[Figure]:
    del runs  # one long look, all of them at the same time
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pids = {
            "one": stack.enter_context(running(write_home(directory / "one", CONFIG))).pid,
            "many": stack.enter_context(running(write_home(directory / "many", CONFIG, profiles=MANY))).pid,
        }
        missing: list[Figure] = []
        others: dict[str, Callable[[], AbstractContextManager[HasPid]]] = {
            "supervisord": supervisor.daemon,
            "circusd": circus.daemon,
            "hermes-agent's gateway": functools.partial(hermes_agent.gateway, directory / "hermes-agent"),
        }
        for name, start in others.items() if peers else ():
            try:
                pids[name] = stack.enter_context(start()).pid
            except NotAvailableError as error:
                missing.append(figures.not_run(f"{name}, idle", str(error)))
        time.sleep(SETTLE_S)
        wakes = _watch(pids)
        rss = {name: rss_mb(pid) for name, pid in pids.items()}
    return _rows(rss, wakes) + missing


def _watch(pids: dict[str, int]) -> dict[str, int]:
    """Context switches of each while we sleep once."""
    before = {name: switches(pid) for name, pid in pids.items()}
    time.sleep(WATCHED_S)
    return {name: switches(pid) - before[name] for name, pid in pids.items()}


def _rows(rss: dict[str, float], wakes: dict[str, int]) -> list[Figure]:
    each = (rss["many"] - rss["one"]) / (MANY - 1)
    rows = [
        figures.plain("resident memory, 1 profile", rss["one"], "MB", at_most=45),
        figures.plain(f"each further idle profile (of {MANY})", each, "MB", at_most=0.2),
        figures.plain(f"context switches in {WATCHED_S:.0f} s, 1 profile", wakes["one"], "", at_most=0),
        figures.plain(f"context switches in {WATCHED_S:.0f} s, {MANY} profiles", wakes["many"], "", at_most=0),
    ]
    for name in [name for name in rss if name not in ("one", "many")]:
        rows.append(figures.beside("resident memory, 1 profile", rss["one"], "MB", name, rss[name]))
        what = f"context switches in {WATCHED_S:.0f} s, 1 profile"
        rows.append(figures.Figure(what, wakes["one"], beside=name, other=wakes[name]))
    return rows

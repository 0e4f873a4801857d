"""hermesd from exec to READY, beside Python importing what it stands on and beside hermes-agent's gateway."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import figures
from bench.daemon import start_ms, write_home
from bench.environments import NotAvailableError, installed_wheel
from bench.measure import Command, alternate, median, wall_ms
from bench.peers import hermes_agent

if TYPE_CHECKING:
    from bench.figures import Figure

IMPORTS = "import trio, msgspec, apsw"
CONFIG = "model: {provider: offline}\n"
MANY = 100
GATEWAY_STARTS = 3


def run(*, runs: int, peers: bool) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        one = write_home(Path(name) / "one", CONFIG)
        many = write_home(Path(name) / "many", CONFIG, profiles=MANY)
        python = Command([str(installed_wheel() / "python"), "-c", IMPORTS])
        calls = {
            "imports": lambda: wall_ms(python),
            "one": lambda: start_ms(one),
            "many": lambda: start_ms(many),
        }
        found = {key: median(times) for key, times in alternate(calls, runs, warmup=1).items()}
        rows = [
            figures.beside(
                "hermesd exec → READY, 1 profile",
                found["one"],
                "ms",
                f"python -c '{IMPORTS}'",
                found["imports"],
                at_most=2.2,
            ),
            figures.beside(
                f"hermesd exec → READY, {MANY} profiles", found["many"], "ms", "1 profile", found["one"], at_most=2.0
            ),
        ]
        if peers:
            rows.append(_beside_hermes_agent(found["one"], Path(name) / "hermes-agent"))
    return rows


def _beside_hermes_agent(ours_ms: float, directory: Path) -> Figure:
    what = "hermesd exec → READY, 1 profile"
    try:
        times = []
        for _ in range(1 + GATEWAY_STARTS):  # the first one furnishes the home
            with hermes_agent.gateway(directory) as gateway:
                times.append(gateway.ready_ms)
    except NotAvailableError as error:
        return figures.not_run(f"{what}, beside hermes-agent", str(error))
    return figures.beside(what, ours_ms, "ms", "hermes-agent, exec → first /health", median(times[1:]))

"""hermesctl as installed from the wheel: whole commands, beside bare Python and the clients of others."""

from __future__ import annotations

import contextlib
import functools
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import figures
from bench.daemon import environment, running, write_home
from bench.environments import NotAvailableError, installed_wheel
from bench.measure import REAL_PYTHON, Command, alternate_commands
from bench.peers import circus, hermes_agent, supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from bench.figures import Figure

CONFIG = "model: {provider: offline}\n"
SERVICES_A_PROFILE = 4
THOUSAND = 1000 // SERVICES_A_PROFILE
"""Profiles that make 1,000 services of the tree."""

BARE = "python3 -I -S -c pass"
OTHER_VERBS = {
    "gateway start": ["gateway", "start"],
    "profile use default": ["profile", "use", "default"],
    "config show": ["config", "show"],
    "rpc (one call)": ["rpc", "call", "rpc.ping"],
    "chat -q hi": ["chat", "-q", "hi"],
    "--help": ["--help"],
}


NOTES = {"config show": "reads the files without a daemon: the schema (msgspec) and YAML are loaded for it"}


def run(*, runs: int, peers: bool) -> list[Figure]:
    ctl = str(installed_wheel() / "hermesctl")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        few = stack.enter_context(running(write_home(directory / "few", CONFIG)))
        many = stack.enter_context(running(write_home(directory / "many", CONFIG, profiles=THOUSAND)))
        few_env, many_env = environment(few.home), environment(many.home)
        bare = Command([REAL_PYTHON, "-I", "-S", "-c", "pass"])
        status = {
            "bare": bare,
            "status": Command([ctl, "status"], few_env),
            "status of 1,000": Command([ctl, "status"], many_env),
            "tree": Command([ctl, "tree"], few_env),
            "tree of 1,000": Command([ctl, "tree"], many_env),
            "sessions list": Command([ctl, "sessions", "list", "--json"], few_env),
        }
        first = alternate_commands(status, runs)
        verbs = {name: Command([ctl, *arguments], few_env) for name, arguments in OTHER_VERBS.items()}
        second = alternate_commands({"bare": bare, **verbs}, max(3, runs // 3))
        rows = _ours(first, second)
        return rows + (_beside_peers(Command([ctl, "status"], few_env), max(3, runs // 4)) if peers else [])


def _ours(first: dict[str, float], second: dict[str, float]) -> list[Figure]:
    rows = [
        figures.beside(f"hermesctl {name}", first[name], "ms", BARE, first["bare"], at_most=2)
        for name in ("status", "tree", "sessions list")
    ]
    for name, at_most in {"status": 1.3, "tree": math.inf}.items():
        ours, small = first[f"{name} of 1,000"], first[name]
        what = f"hermesctl {name}, {THOUSAND} profiles with 1,000 services"
        rows.append(figures.beside(what, ours, "ms", "1 profile", small, at_most=at_most))
    for name in OTHER_VERBS:
        note = NOTES.get(name, "")
        rows.append(figures.beside(f"hermesctl {name}", second[name], "ms", BARE, second["bare"], at_most=7, note=note))
    return rows


def _beside_peers(status: Command, runs: int) -> list[Figure]:
    rows = []
    for name, peer in {"supervisorctl status": _supervisor, "circusctl status": _circus}.items():
        rows.append(_beside_peer(status, name, peer, runs))
    for name, argument in {"hermes --version": "--version", "hermes status": "status"}.items():
        rows.append(_beside_peer(status, name, functools.partial(_hermes, argument), runs))
    return rows


def _beside_peer(status: Command, name: str, peer: Callable[[], AbstractContextManager[Command]], runs: int) -> Figure:
    try:
        with peer() as theirs:
            found = alternate_commands({"ours": status, "theirs": theirs}, runs)
    except NotAvailableError as error:
        return figures.not_run(f"hermesctl status, beside {name}", str(error))
    return figures.beside("hermesctl status", found["ours"], "ms", name, found["theirs"])


@contextlib.contextmanager
def _supervisor() -> Iterator[Command]:
    with supervisor.daemon() as daemon:
        yield Command(daemon.status)


@contextlib.contextmanager
def _circus() -> Iterator[Command]:
    with circus.daemon() as daemon:
        yield Command(daemon.status)


@contextlib.contextmanager
def _hermes(argument: str) -> Iterator[Command]:
    hermes_agent.require_isolation()
    with tempfile.TemporaryDirectory() as name:
        env = hermes_agent.write_home(Path(name) / "home")
        yield Command([str(hermes_agent.program()), argument], env)

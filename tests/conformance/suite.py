"""Scenarios of the suite, one run of one of them, and what came of it.

The suite's own summary is not believed: it passes over exit codes, timeouts and clients killed by a signal. A run
counts as passed when the suite itself ended well and in time, its checks.json is there and holds a success and neither
failure nor warning, and the client under test (side ``client``) ended by itself.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import yaml

from tests.conformance.install import Installed, installed

Side = Literal["client", "server"]
SIDES: tuple[Side, ...] = ("client", "server")
REVISIONS = ("2025-11-25", "2026-07-28")
"""Revisions whose requirements the suite lists."""
CLIENT_S = 30
SCENARIO_S = 90
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Scenario:
    """One run to make. ``status``: ``required``, or why it does not count (``extension``, ``pending``, …)."""

    side: Side
    name: str
    version: str
    status: str

    @property
    def is_required(self) -> bool:
        return self.status == "required"


@dataclass(frozen=True)
class Outcome:
    """What came of a run: checks that succeeded and failed (warnings are failures), and in words what went wrong.

    ``skipped``: the suite found nothing to check, because hermesd does not speak of the extension; neither passed nor
    failed. ``output`` is what the programs printed; it is no part of the page.
    """

    scenario: Scenario
    succeeded: int = 0
    failed: int = 0
    skipped: bool = False
    problems: tuple[str, ...] = ()
    output: str = ""

    @property
    def passed(self) -> bool:
        return self.succeeded > 0 and not self.failed and not self.problems


def scenarios(side: Side, *, version: str = "", name: str = "") -> list[Scenario]:
    """What each revision requires and lists beside it, then what no revision names, at the newest version it is for."""
    suite = installed()
    found: list[Scenario] = []
    for revision in REVISIONS:
        listed = yaml.safe_load((suite.requirements / f"{revision}.yaml").read_text())
        found += [Scenario(side, each, revision, "required") for each in listed[side]]
        others = [each for each in listed["not_scored"] if each["leg"] == side]
        found += [Scenario(side, each["scenario"], revision, each["reason"]) for each in others]
    named = {each.name for each in found}
    for each, versions in _listed(suite, side).items():
        if each not in named:
            dated = [word for word in versions if word[0].isdigit()]
            found.append(Scenario(side, each, max(dated, default=REVISIONS[-1]), "unlisted" if dated else "extension"))
    return [each for each in found if version in ("", each.version) and name in ("", each.name)]


@functools.cache
def _listed(suite: Installed, side: Side) -> dict[str, list[str]]:
    """Every scenario of a side with the versions it is for (or the word ``extension``)."""
    argv = [suite.node, str(suite.script), "list", f"--{side}"]
    text = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout
    return {name: words.split(",") for name, words in re.findall(r"^  - (\S+) \[(.*)\]$", text, re.MULTILINE)}


def run(scenario: Scenario, target: str | Sequence[str]) -> Outcome:
    """Run one scenario: a client by its argv (the server's URL is added to it), a server by its URL."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        argv = _argv(scenario, target, folder)
        status, output = _ended(argv, folder)
        outcome = _judged(scenario, folder, status)
    return replace(outcome, output=output)


def _argv(scenario: Scenario, target: str | Sequence[str], folder: Path) -> list[str]:
    suite = installed()
    argv = [suite.node, str(suite.script), scenario.side, "--scenario", scenario.name, "-o", str(folder / "results")]
    argv += ["--timeout", str(CLIENT_S * 1000)]
    if scenario.status == "extension":  # those are on no time line, so the suite wants to be told
        argv += ["--force"]
    argv += ["--spec-version", scenario.version]
    if scenario.side == "server":
        assert isinstance(target, str)
        return [*argv, "--url", target]
    witness = [sys.executable, "-m", "tests.conformance.witness", str(folder / "ended"), *target]
    return [*argv, "--command", shlex.join(witness)]


def _ended(argv: list[str], folder: Path) -> tuple[int | None, str]:
    """The exit status (negative: a signal; None: out of time) and the output. Nothing of its group is left alive."""
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "NO_COLOR": "1"}
    with (folder / "output").open("w+b") as log:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        status: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(SCENARIO_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        return status, log.read().decode(errors="replace")


def _judged(scenario: Scenario, folder: Path, status: int | None) -> Outcome:
    problems: list[str] = []
    if status is None:
        problems.append(f"no end within {SCENARIO_S} s")
    elif status < 0:
        problems.append(f"the suite was ended by {signal.Signals(-status).name}")
    if scenario.side == "client":
        problems += _client_problems(folder / "ended")
    found = sorted((folder / "results").glob("**/checks.json")) if (folder / "results").exists() else []
    if len(found) != 1:
        return Outcome(scenario, problems=(*problems, "no checks.json was written"))
    checks = json.loads(found[0].read_text())
    bad = [each for each in checks if each["status"] in ("FAILURE", "WARNING")]
    problems += [f"{each['id']}: {_sentence(each)}" for each in bad]
    succeeded = sum(each["status"] == "SUCCESS" for each in checks)
    if status and not problems:
        problems.append(f"the suite ended with status {status}")
    told = {each["status"] for each in checks} - {"INFO"}
    if told == {"SKIPPED"} and scenario.status == "extension" and not problems:
        reasons = tuple(dict.fromkeys(_sentence(each) for each in checks if each["status"] == "SKIPPED"))
        return Outcome(scenario, skipped=True, problems=reasons)
    if not succeeded:
        problems.append("no check succeeded")
    return Outcome(scenario, succeeded, len(bad), problems=tuple(dict.fromkeys(problems)))


def _client_problems(path: Path) -> list[str]:
    """Whether a failing exit status is a fault differs by scenario: the suite's own status says so."""
    if not path.exists():
        return [f"the client did not end within {CLIENT_S} s"]
    code = int(path.read_text())
    return [f"the client was ended by {signal.Signals(-code).name}"] if code < 0 else []


def _sentence(check: dict[str, object]) -> str:
    text = str(check.get("errorMessage") or check.get("description") or "")
    return " ".join(text.split())[:200]

"""How runs of the conformance suite are judged, without the suite: from what a run leaves behind."""

from __future__ import annotations

import json
import os
import select
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import page, suite
from tests.conformance.suite import Outcome, Scenario

REQUIRED = Scenario("client", "tools_call", "2026-07-28", "required")
EXTENSION = Scenario("client", "sep-2640-client-no-prefetch", "2026-07-28", "extension")


def judged(scenario: Scenario, folder: Path, *statuses: str, ended: str = "0", status: int | None = 0) -> Outcome:
    checks: list[dict[str, Any]] = [{"id": f"check-{word.lower()}", "status": word} for word in statuses]
    results = folder / "results/auth/x-2026"
    results.mkdir(parents=True)
    (results / "checks.json").write_text(json.dumps(checks))
    if ended:
        (folder / "ended").write_text(ended)
    return suite._judged(scenario, folder, status)


@pytest.mark.parametrize(
    ("statuses", "ended", "status", "passed"),
    [
        (("SUCCESS", "INFO", "SKIPPED"), "0", 0, True),
        (("SUCCESS",), "1", 0, True),  # the suite says by its status whether a client may fail
        (("SUCCESS",), "1", 1, False),
        (("SUCCESS", "WARNING"), "0", 0, False),
        (("SUCCESS", "FAILURE"), "0", 0, False),
        (("SUCCESS",), "-9", 0, False),
        (("SUCCESS",), "", 0, False),
        (("SUCCESS",), "0", None, False),
        (("SUCCESS",), "0", -11, False),
        (("INFO",), "0", 0, False),
        (("SKIPPED",), "0", 0, False),
        ((), "0", 0, False),
    ],
)
def test_a_run_passes_only_when_everything_about_it_is_well(
    tmp_path: Path, statuses: tuple[str, ...], ended: str, status: int | None, passed: bool
) -> None:
    """Checks, the client's end, the suite's end and the time are all looked at."""
    found = judged(REQUIRED, tmp_path, *statuses, ended=ended, status=status)
    assert (found.passed, found.skipped) == (passed, False)
    assert passed == (not found.problems)


def test_a_run_that_wrote_nothing_has_not_passed(tmp_path: Path) -> None:
    """Whatever its exit status says."""
    (tmp_path / "ended").write_text("0")
    assert suite._judged(REQUIRED, tmp_path, 0).problems == ("no checks.json was written",)


def test_an_extension_that_is_not_spoken_is_skipped_and_counted_apart(tmp_path: Path) -> None:
    """Neither among those that passed nor among those that failed."""
    skipped = judged(EXTENSION, tmp_path, "SKIPPED", "INFO")
    assert (skipped.skipped, skipped.passed) == (True, False)
    [required, every] = page.figures([Outcome(REQUIRED, succeeded=2), skipped])
    assert required == ("required by 2026-07-28", "1/1")
    assert every[1].startswith("1/2, and 1 skipped")


def test_nothing_of_a_run_is_left_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole process group goes, also what the client under test has started."""
    monkeypatch.setattr(suite, "SCENARIO_S", 0.5)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    code = "import subprocess,sys;subprocess.run([sys.executable,'-c','import time;time.sleep(600)'],close_fds=False)"
    monkeypatch.setattr(suite.subprocess, "Popen", _inheriting(writer))
    status, _ = suite._ended([sys.executable, "-c", code], tmp_path)
    os.close(writer)
    assert status is None
    assert select.select([reader], [], [], 60)[0]
    assert os.read(reader, 1) == b""  # the end of the file: nobody holds the other end any more
    os.close(reader)


def _inheriting(fd: int) -> Any:
    import subprocess

    real = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> Any:
        return real(*arguments, **options, pass_fds=(fd,))

    return popen

"""``hermesctl plan`` and ``apply`` against a real daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.servers.daemon import Daemon

JOBS = """\
version: 1
jobs:
  Digest:
    schedule: every weekday at 09:00
    timezone: Europe/Berlin
    prompt: Write the digest.
  Follow up:
    schedule: every 1h
    prompt: Go on.
    context_from: Digest
    paused: true
"""


@pytest.fixture
def working(daemon: Daemon) -> Daemon:
    daemon.write_config("model: offline\n")
    return daemon.start()


def written(daemon: Daemon, text: str, name: str = "routines.yaml") -> str:
    path = daemon.home.parent / name
    path.write_text(text)
    return str(path)


def plan(daemon: Daemon, file: str, *more: str, status: int = 0) -> dict[str, Any]:
    done = daemon.ctl("plan", "-f", file, "--json", *more)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def applied(daemon: Daemon, file: str, *more: str) -> str:
    done = daemon.ctl("apply", "-f", file, "--yes", *more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs(daemon: Daemon) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in daemon.call("cron.list", all=True)["jobs"]}


def state_of(home: Path) -> dict[str, tuple[int, bytes]]:
    """Every file but logs, with its time and its contents."""
    return {
        str(path.relative_to(home)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(home.rglob("*"))
        if path.is_file() and "logs" not in path.parts and path.suffix not in (".sock", "-shm")
    }


def test_jobs_are_made_changed_and_removed_as_the_file_says(working: Daemon) -> None:
    """The plan tells what apply then does; a second one finds nothing."""
    file = written(working, JOBS)
    shown = working.ctl("plan", "-f", file)
    assert shown.returncode == 2
    assert "+ job Digest  (profile default)" in shown.stdout
    assert "2 to create" in shown.stdout
    assert jobs(working) == {}
    assert "2 created" in applied(working, file)
    assert jobs(working)["Digest"]["schedule"] == "0 9 * * 1-5"
    assert jobs(working)["Follow up"]["state"] == "paused"
    assert plan(working, file)["pending"] == 0

    written(working, JOBS.replace("Write the digest.", "Write it well."))
    [change] = plan(working, file, status=2)["changes"]
    assert [(field["before"], field["after"]) for field in change["fields"]] == [
        ("Write the digest.", "Write it well.")
    ]
    before = jobs(working)["Digest"]
    applied(working, file)
    assert jobs(working)["Digest"]["fields"]["prompt"] == "Write it well."
    assert jobs(working)["Digest"]["id"] == before["id"]

    written(working, "version: 1\n")
    assert "2 deleted" in applied(working, file)
    assert jobs(working) == {}
    assert plan(working, file)["pending"] == 0


def test_a_second_apply_writes_nothing(working: Daemon) -> None:
    """Not a byte of any file, nor its time."""
    file = written(working, JOBS)
    applied(working, file)
    working.call("events.list", since=0, limit=1)
    before = state_of(working.home)
    assert "nothing to do" in applied(working, file)
    assert state_of(working.home) == before


def test_what_was_changed_by_hand_is_drift_and_is_put_back(working: Daemon) -> None:
    """Named as such, with status 2; what the file does not say is whoever's it is."""
    file = written(working, JOBS)
    applied(working, file)
    working.ctl("cron", "edit", "Digest", "--prompt", "Something else.", "--max-turns", "7")
    [change] = plan(working, file, status=2)["changes"]
    assert [(field["name"], field["by_hand"]) for field in change["fields"]] == [("prompt", True)]
    assert not change.get("conflict")
    assert "# changed by hand" in working.ctl("plan", "-f", file).stdout
    applied(working, file)
    fields = jobs(working)["Digest"]["fields"]
    assert (fields["prompt"], fields["max_turns"]) == ("Write the digest.", 7)
    working.ctl("cron", "remove", "Digest")
    made, follower = plan(working, file, status=2)["changes"]
    assert (made["action"], made["note"]) == ("create", "was removed by hand")
    assert [field["name"] for field in follower["fields"]] == ["context_from"], "it named the job that is gone"
    applied(working, file)
    assert plan(working, file)["pending"] == 0


def test_a_change_on_both_sides_is_refused_until_it_is_forced(working: Daemon) -> None:
    """Nothing of the apply happens, not even its other changes."""
    file = written(working, JOBS)
    applied(working, file)
    working.ctl("cron", "edit", "Digest", "--prompt", "Mine.")
    written(working, JOBS.replace("Write the digest.", "Theirs.").replace("Go on.", "Go further."))
    refused = working.ctl("apply", "-f", file, "--yes")
    assert refused.returncode == 1
    assert "! job Digest" in refused.stdout
    assert "nothing was changed" in refused.stderr
    assert jobs(working)["Follow up"]["fields"]["prompt"] == "Go on."
    applied(working, file, "--force-conflicts")
    assert jobs(working)["Digest"]["fields"]["prompt"] == "Theirs."
    assert plan(working, file)["pending"] == 0


def test_what_no_apply_has_made_is_left_alone(working: Daemon) -> None:
    """It is named only when asked; a file may take it over, and then let go of it again without removing it."""
    working.ctl("cron", "create", "0 9 * * *", "Mine.", "--name", "Own")
    file = written(working, JOBS)
    assert "Own" not in working.ctl("plan", "-f", file).stdout
    assert "jobs/default/Own" in working.ctl("plan", "-f", file, "--verbose").stdout
    written(working, "version: 1\njobs: {Own: {schedule: 0 9 * * *, prompt: Other.}}\n")
    assert plan(working, file, status=2)["conflicts"] == 1
    written(working, "version: 1\njobs: {Own: {schedule: 0 9 * * *, prompt: Mine.}}\n")
    assert "is taken over" in working.ctl("plan", "-f", file).stdout
    applied(working, file)
    written(working, "version: 1\n")
    assert "so it stays" in working.ctl("plan", "-f", file).stdout
    applied(working, file)
    assert "Own" in jobs(working)


def test_without_a_terminal_apply_wants_yes(working: Daemon) -> None:
    """And changes nothing without it."""
    refused = working.ctl("apply", "-f", written(working, JOBS))
    assert (refused.returncode, jobs(working)) == (2, {})
    assert "give --yes" in refused.stderr


def test_another_plan_than_the_shown_one_is_not_applied(working: Daemon) -> None:
    """The revision is that of the plan."""
    files = [{"name": "a.yaml", "text": JOBS}]
    shown = working.call("routines.plan", files=files)
    working.ctl("cron", "create", "0 9 * * *", "Mine.", "--name", "Digest")
    with pytest.raises(AssertionError, match="since the plan was shown"):
        working.call("routines.apply", files=files, revision=shown["revision"])
    assert list(jobs(working)) == ["Digest"]


WRONG = {
    "jobs: {}\n": "r.yaml:1: this is no manifest of version 1",
    "version: 1\njobs:\n  A:\n    prompts: x\n": "r.yaml:4: unknown key 'prompts' in jobs.A",
    "version: 1\njobs:\n  A:\n    prompt: x\n    schedule: 0 0 31 2 *\n": "r.yaml:5: jobs.A: schedule",
    "version: 1\njobs:\n  A: {prompt: x, schedule: 30m}\n": "r.yaml:3: jobs.A: schedule '30m' would be another",
    "version: 1\njobs:\n  A: {prompt: x, schedule: '@daily', profile: no}\n": "r.yaml:3: jobs.A: no profile 'no'",
    "version: 1\njobs:\n  A: {prompt: x, schedule: '@daily', repeat: many}\n": "r.yaml:3: repeat must be",
    "version: 1\njobs:\n  A: {prompt: x, schedule: '@daily', context_from: B}\n": "there is no other job 'B'",
}


def test_a_file_that_is_wrong_is_refused_with_its_line(working: Daemon) -> None:
    """Status 78, and not the 2 that means a difference."""
    for text, said in WRONG.items():
        refused = working.ctl("plan", "-f", written(working, text, "r.yaml"))
        assert refused.returncode == 78, refused.stdout
        assert said in refused.stderr
        assert "  → " in refused.stderr
    assert working.ctl("plan").returncode == 1
    assert working.ctl("plan", "--nonsense").returncode == 1

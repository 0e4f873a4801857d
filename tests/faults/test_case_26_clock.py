"""Case 26: a wall clock that is set by an hour and a day both ways, a stopped process, a machine without zone data.

The clock of a real daemon is the machine's plus an offset (clock.c, preloaded); its timers, its store and its scheduler
see it as they would see a clock that somebody sets.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tests.faults.blackbox import Watch, events, log_of, restarted
from tests.servers.daemon import Daemon
from tests.servers.github import TOKEN, as_github_documents

HOUR = 3600.0
DAY = 24 * HOUR
HERE = Path(__file__).parent


class Clock:
    """The daemon's wall clock; ``now`` is what it shows."""

    def __init__(self, daemon: Daemon, directory: Path) -> None:
        self._daemon = daemon
        self._fifo = directory / "clock"
        os.mkfifo(self._fifo)
        self._pipe = os.open(self._fifo, os.O_RDWR)
        self.offset = 0.0
        library = directory / "clock.so"
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("no C compiler to build the library that moves the clock with")
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "clock.c", "-ldl", "-lpthread"], check=True
        )
        self.env = {"LD_PRELOAD": str(library), "HERMESD_TEST_CLOCK": str(self._fifo)}

    @property
    def now(self) -> float:
        return time.time() + self.offset

    def step(self, seconds: float) -> None:
        """Set it, and wait until the scheduler has noticed; needs a job."""
        with log_of(self._daemon) as log:
            before = len([line for line in self._daemon.call("logs.tail", lines=1000)["lines"] if SET in line])
            self.offset += seconds
            os.write(self._pipe, struct.pack("q", int(self.offset * 1e9)))
            for _ in range(before + 1):
                log.until(SET)

    def close(self) -> None:
        os.close(self._pipe)


SET = "the clock was set"


@pytest.fixture
def clock(daemon: Daemon, tmp_path: Path) -> Iterator[Clock]:
    found = Clock(daemon, tmp_path)
    yield found
    found.close()


@pytest.fixture
def working(daemon: Daemon, clock: Clock) -> Daemon:
    daemon.write_config("model: offline\n")
    return daemon.start(**clock.env)


def made(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    done = daemon.ctl("cron", "create", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["job"]
    return found


def ran(daemon: Daemon, job: dict[str, Any]) -> list[float]:
    """The instants that were taken up, oldest first."""
    rows = daemon.call("cron.runs", job=job["id"], limit=1000)["runs"]
    return [each["run"]["due_at"] for each in reversed(rows) if each["run"]["state"] != "skipped"]


def until_run(watch: Watch, job: dict[str, Any]) -> None:
    watch.until("run.handed", job_id=job["id"])


def next_at(daemon: Daemon, job: dict[str, Any]) -> float:
    return float(daemon.call("cron.show", job=job["id"])["job"]["next_at"])


@pytest.mark.parametrize("schedule", ["every 1h", "7 * * * *"])
def test_a_clock_that_is_set_makes_no_burst_and_loses_nothing(working: Daemon, clock: Clock, schedule: str) -> None:
    """Forwards by an hour and a day: one run each. Backwards: none again, and the next one is within the hour."""
    job = made(working, schedule, "hello", "--overlap", "allow")
    steps = 0
    with events(working) as watch:
        for seconds in (HOUR, DAY):
            clock.step(seconds)
            until_run(watch, job)
            steps += 1
            assert len(ran(working, job)) == steps
            assert clock.now < next_at(working, job) <= clock.now + HOUR + 1
        came = ran(working, job)
        for seconds in (-HOUR, -DAY):
            clock.step(seconds)
            assert ran(working, job) == came
            assert next_at(working, job) <= clock.now + HOUR + 1
        clock.step(HOUR)  # over an instant that has come before
        assert ran(working, job) == came
        clock.step(HOUR)
        until_run(watch, job)
        again = ran(working, job)
    assert len(set(again)) == len(again)
    assert restarted(working) == []


def test_a_retry_waits_by_the_monotonic_clock(daemon: Daemon, clock: Clock) -> None:
    """A clock that is put back by a day meanwhile does not hold it up for a day."""
    with as_github_documents() as github:
        daemon.write_config(
            f"model: offline\nplatforms: {{github: {{base_url: '{github.base_url}'}}}}\n",
            env=f"GITHUB_TOKEN={TOKEN}\n",
        )
        daemon.start(**clock.env)
        github.answers = [(429, {"retry-after": "2"}, "")]
        job = made(daemon, "every 1h", "hello", "--deliver", "github_comment:octo/parrot#7")
        with events(daemon) as watch:
            daemon.call("cron.run", job=job["id"])
            watch.until("outbox.retry")
            clock.step(-DAY)
            watch.until("outbox.sent")
        assert len(github.bodies()) == 1


def stopped_over_an_instant(daemon: Daemon, clock: Clock, *, seconds: float) -> None:
    """Stop the process from shortly before a job is due on, for so long; what came is one run."""
    job = made(daemon, "every 10s", "hello", "--overlap", "allow")
    clock.step(next_at(daemon, job) - clock.now - 1.5)
    due = next_at(daemon, job)
    with events(daemon, since=daemon.call("events.list", since=0, limit=1000)["last_id"]) as watch:
        os.kill(daemon.pid, signal.SIGSTOP)
        signal.sigtimedwait([], seconds)
        os.kill(daemon.pid, signal.SIGCONT)
        woke = clock.now
        until_run(watch, job)
        rows = [each["run"] for each in daemon.call("cron.runs", job=job["id"], limit=1000)["runs"]]
    taken_up = [each for each in rows if each["state"] != "skipped"]
    late = [each["due_at"] for each in taken_up if each["due_at"] <= woke]
    assert len(late) == 1, "no burst"
    assert late[0] >= due
    assert len({each["due_at"] for each in rows}) == len(rows)
    assert woke < next_at(daemon, job) <= clock.now + 10
    assert restarted(daemon) == []


def test_a_process_that_was_stopped_makes_up_for_one_run(working: Daemon, clock: Clock) -> None:
    """For three seconds, over one instant."""
    stopped_over_an_instant(working, clock, seconds=3.0)


@pytest.mark.long
def test_a_process_that_was_stopped_for_a_minute_makes_up_for_one_run(working: Daemon, clock: Clock) -> None:
    """Over six instants."""
    stopped_over_an_instant(working, clock, seconds=60.0)


NO_DATA = """\
import sys
sys.modules["tzdata"] = None  # as if the package were not installed
"""


def test_without_zone_data_only_jobs_of_that_zone_are_paused_and_it_is_said(daemon: Daemon, tmp_path: Path) -> None:
    """UTC needs no data; a job that cannot know its hour does not run at a wrong one."""
    daemon.write_config("model: offline\n")
    daemon.start()
    berlin = made(daemon, "0 9 * * *", "hello", "--tz", "Europe/Berlin", "--name", "Berlin")
    steady = made(daemon, "0 9 * * *", "hello", "--tz", "UTC", "--name", "UTC")
    assert daemon.stop() == 0
    with apsw.Connection(str(daemon.home / "state.db")) as db:
        due = time.time() - 1
        db.execute("UPDATE jobs SET due_at = ?, next_at = ? WHERE id = ?", (due, due, berlin["id"]))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(NO_DATA)
    path = os.pathsep.join(filter(None, (str(tmp_path / "site"), os.environ.get("PYTHONPATH"))))
    daemon.start(PYTHONTZPATH="", PYTHONPATH=path)
    with events(daemon) as watch:
        watch.until("job.changed", id=berlin["id"], state="paused")
    [run] = daemon.call("cron.runs", job="Berlin")["runs"]
    assert run["state"] == "skipped"
    assert "'Europe/Berlin' is not a time zone that is known here" in run["run"]["error"]
    listed = daemon.ctl("cron", "list")
    assert (listed.returncode, "Berlin" in listed.stdout) == (0, True)
    assert daemon.call("cron.show", job="UTC")["job"]["next"] == steady["next"]
    refused = daemon.ctl("cron", "resume", "Berlin")
    assert refused.returncode == 2
    assert "install the system's tzdata" in refused.stderr
    assert daemon.ctl("cron", "create", "every day at 9:00", "hello", "--tz", "UTC").returncode == 0

"""SIGKILL over scheduled jobs: every occurrence comes once and says its piece once; a script runs once at most."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from pathlib import Path

import apsw
import pytest

from hermesd.failpoint import NAMES
from tests.servers.daemon import HTTP, Daemon, NotReadyError

pytestmark = pytest.mark.loaded(HTTP)

JOBS = 30
SCRIPTS = 6
LONGEST_S = 1.2
FAILPOINTS = [name for name in NAMES if not name.startswith(("cursor", "home"))]


def make_jobs(daemon: Daemon) -> None:
    """A job every ten seconds each, at phases of their own; some run a script that leaves a mark."""
    (daemon.home / "scripts").mkdir(mode=0o700, exist_ok=True)
    for number in range(JOBS):
        fields = {"schedule": "every 10s", "name": f"job {number}", "prompt": f"hello {number}", "overlap": "allow"}
        if number < SCRIPTS:
            name = f"s{number}.sh"
            (daemon.home / "scripts" / name).write_text(
                f"echo {number} >> {daemon.home}/marks; sleep 0.4; echo said {number}\n"
            )
            fields |= {"script": name, "no_agent": True}
        daemon.call("cron.create", fields=fields)


def spread(daemon: Daemon) -> None:
    """Give the jobs phases: their first instants lie a third of a second apart, from a second ago on."""
    with apsw.Connection(str(daemon.home / "state.db")) as db:
        begin = time.time() + 1.0
        for number, (job, spec) in enumerate(db.execute("SELECT id, spec FROM jobs ORDER BY name").fetchall()):
            found = json.loads(spec)
            due = round(begin + number / 3, 3)
            found["schedule"]["anchor"] = due - 10
            values = (json.dumps(found), due, due, job)
            db.execute("UPDATE jobs SET spec = ?, due_at = ?, next_at = ? WHERE id = ?", values)


def wait_s(seconds: float) -> None:
    """Time that passes in the daemon's life before it is killed."""
    signal.sigtimedwait([], seconds)


def kill_often(daemon: Daemon, kills: int, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(kills):
        point = {"HERMESD_FAILPOINT": f"{rng.choice(FAILPOINTS)}:{rng.randint(1, 6)}"} if number % 2 else {}
        try:
            daemon.start(**point)
        except NotReadyError:
            continue  # it met its failpoint while it came up
        wait_s(rng.uniform(0.05, LONGEST_S))
        daemon.kill()


def settle(daemon: Daemon) -> None:
    """Let everything that was taken up be answered and delivered; nothing new comes due."""
    with daemon.connect(timeout_s=60) as wire:
        wire.send("events.watch", since=0)
        while open_work(daemon):
            wire.until("events.event")


def open_work(daemon: Daemon) -> int:
    with apsw.Connection(str(daemon.home / "state.db"), flags=apsw.SQLITE_OPEN_READONLY) as db:
        db.set_busy_timeout(10_000)
        [(count,)] = db.execute(
            "SELECT (SELECT count(*) FROM runs WHERE state IN ('queued', 'script')) "
            "+ (SELECT count(*) FROM inbox WHERE state IN ('pending', 'running')) "
            "+ (SELECT count(*) FROM outbox WHERE state IN ('pending', 'attempting'))"
        ).fetchall()
    return int(count)


def test_every_occurrence_comes_once_however_often_the_daemon_is_killed(daemon: Daemon) -> None:
    """Random moments and named failpoints, 12 kills, with 30 jobs."""
    check(daemon, kills=12, seed=0)


@pytest.mark.long
def test_every_occurrence_comes_once_over_two_hundred_kills(daemon: Daemon) -> None:
    """The same for some minutes."""
    check(daemon, kills=200, seed=99)


def check(daemon: Daemon, *, kills: int, seed: int) -> None:
    daemon.write_config("model: offline\n")
    daemon.start()
    make_jobs(daemon)
    assert daemon.stop() == 0
    spread(daemon)
    kill_often(daemon, kills, seed)
    daemon.start()
    for job in daemon.call("cron.list")["jobs"]:
        daemon.call("cron.pause", job=job["id"])
    settle(daemon)
    assert daemon.stop() == 0
    audit(daemon.home, kills)


def audit(home: Path, kills: int) -> None:
    db = apsw.Connection(str(home / "state.db"))
    jobs = {job: json.loads(spec) for job, spec in db.execute("SELECT id, spec FROM jobs").fetchall()}
    runs = db.execute("SELECT job_id, due_at, state, inbox_id, id FROM runs ORDER BY id").fetchall()
    assert len(runs) >= kills
    for job, spec in jobs.items():
        came = [due for found, due, *_ in runs if found == job]
        anchor = spec["schedule"]["anchor"]
        assert came == [anchor + 10 * (number + 1) for number in range(len(came))], "none left out, none twice"
    assert {state for _, _, state, *_ in runs} <= {"handed", "done", "failed"}
    handed = [inbox for _, _, state, inbox, _ in runs if state == "handed"]
    assert len(set(handed)) == len(handed)
    [(answered,)] = db.execute("SELECT count(*) FROM inbox WHERE state = 'done' AND source LIKE 'cron:%'").fetchall()
    assert answered == len(handed)
    sent = Counter(key for (key,) in db.execute("SELECT idempotency_key FROM outbox WHERE state = 'sent'").fetchall())
    assert max(sent.values()) == 1
    assert sum(sent.values()) == len(runs), "every run has said what it had to say"
    files = [path.read_text() for path in (home / "outbox").glob("*.md")]
    assert len(files) == len(runs)
    marks = Counter((home / "marks").read_text().split())
    for number in range(SCRIPTS):
        assert marks[str(number)] <= sum(1 for job, *_ in runs if jobs[job].get("script") == f"s{number}.sh")
    done = Counter(jobs[job]["script"] for job, _, state, *_ in runs if state == "done")
    for script, count in done.items():
        assert marks[script[1:-3]] >= count
    db.close()

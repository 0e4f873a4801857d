"""Ten thousand scheduled jobs: how late they are taken up, and what they cost a start and a daemon that waits."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from bench import figures
from bench.daemon import running, start_ms, write_home
from bench.environments import ROOT, NotAvailableError, peer
from bench.measure import alternate, median, p99, switches

if TYPE_CHECKING:
    from bench.figures import Figure

CONFIG = "model: {provider: offline}\n"
JOBS = 10_000
DUE = 300  # of them come due while we watch
WATCHED_S = 15.0
IDLE_S = 10.0
LOOKS = 5  # of hermes-agent's tick
SETTLE_S = 12.0


def run(*, runs: int, peers: bool) -> list[Figure]:
    with tempfile.TemporaryDirectory() as name:
        none, many = write_home(Path(name) / "none", CONFIG), write_home(Path(name) / "many", CONFIG)
        for home in (none, many):
            start_ms(home)
        put_jobs(many, first_due=time.time() + 3600.0)
        calls = {"none": lambda: start_ms(none), "many": lambda: start_ms(many)}
        found = {key: median(times) for key, times in alternate(calls, min(runs, 7), warmup=1).items()}
        added = found["many"] - found["none"]
        idle = waiting(many)
        late = lateness(many)
        looks = _beside_hermes_agent(Path(name) / "hermes-agent") if peers else []
    return [
        *looks,
        figures.plain(f"{JOBS:,} jobs, added to exec → READY", added, "ms", at_most=500),
        figures.beside(f"{JOBS:,} jobs, exec → READY", found["many"], "ms", "no job", found["none"]),
        figures.plain(f"{JOBS:,} jobs waiting, context switches in {IDLE_S:.0f} s", idle, "", at_most=0),
        figures.plain(f"{JOBS:,} jobs, lateness of {len(late)} occurrences, p99", p99(late) * 1000, "ms", at_most=50),
        figures.plain(f"{JOBS:,} jobs, lateness, median", median(late) * 1000, "ms"),
    ]


def _beside_hermes_agent(home: Path) -> list[Figure]:
    """Its tick, every 60 s: a job is 0 to 60 s late by design, and each look costs processor time. We never look."""
    what = f"hermes-agent, {JOBS:,} jobs waiting: one look whether any is due"
    try:
        python = peer("hermes-agent") / "python"
    except NotAvailableError as error:
        return [figures.not_run(what, str(error))]
    home.mkdir()
    done = subprocess.run(
        [python, ROOT / "bench/peers/hermes_cron.py", str(JOBS), str(LOOKS)],
        env={**os.environ, "HERMES_HOME": str(home)},
        stdout=subprocess.PIPE,
        check=True,
    )
    note = "every 60 s; a job is up to 60 s late. Ours never looks: its wake-ups meanwhile are below"
    return [figures.plain(what, median(json.loads(done.stdout)), "ms", note=note)]


def waiting(home: Path) -> int:
    """Wake-ups of a daemon whose jobs are all an hour away."""
    with running(home) as daemon:
        time.sleep(SETTLE_S)
        before = switches(daemon.pid)
        time.sleep(IDLE_S)
        return switches(daemon.pid) - before


def lateness(home: Path) -> list[float]:
    """Seconds from the instant to the commit that takes it up, of the jobs that come due while we watch."""
    begin = time.time() + 5.0
    with apsw.Connection(str(home / "state.db")) as db:
        for number, (job, spec) in enumerate(db.execute("SELECT id, spec FROM jobs LIMIT ?", (DUE,)).fetchall()):
            due = round(begin + number * WATCHED_S / DUE, 3)
            found = json.loads(spec)
            found["schedule"]["anchor"] = due - 3600.0
            db.execute("UPDATE jobs SET spec=?, due_at=?, next_at=? WHERE id=?", (json.dumps(found), due, due, job))
    with running(home):
        time.sleep(max(0.0, begin + WATCHED_S + 2.0 - time.time()))
    with apsw.Connection(str(home / "state.db")) as db:
        return [late for (late,) in db.execute("SELECT fired_at - due_at FROM runs").fetchall()]


def put_jobs(home: Path, *, first_due: float) -> None:
    """As ``hermesctl cron create`` makes them, but in one transaction."""
    schedule = {"kind": "interval", "text": "every 1h", "zone": "UTC", "seconds": 3600, "anchor": first_due - 3600.0}
    with apsw.Connection(str(home / "state.db")) as db, db:
        for number in range(JOBS):
            spec = json.dumps({"schedule": schedule, "prompt": f"hello {number}", "deliver": "log", "overlap": "allow"})
            db.execute(
                "INSERT INTO jobs (id, profile, name, spec, state, due_at, next_at, created_at, updated_at) "
                "VALUES (?, 'default', ?, ?, 'active', ?, ?, 0, 0)",
                (f"j{number:05}", f"job {number}", spec, first_due, first_due),
            )

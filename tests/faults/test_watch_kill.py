"""SIGKILL over watched files: every change counts once, whatever was going on."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

import apsw
import pytest

from hermesd.failpoint import NAMES
from tests.faults.test_cron_kill import settle
from tests.servers.daemon import HTTP, Daemon, NotReadyError

pytestmark = pytest.mark.loaded(HTTP)

LONGEST_S = 0.6
FAILPOINTS = [name for name in NAMES if not name.startswith(("cursor", "home"))]


def test_every_changed_file_comes_once_however_often_the_daemon_is_killed(daemon: Daemon, tmp_path: Path) -> None:
    """Random moments and named failpoints, 5 kills, with files that appear all the time."""
    check(daemon, tmp_path / "drop", kills=5, seed=0)


@pytest.mark.long
def test_every_changed_file_comes_once_over_two_hundred_kills(daemon: Daemon, tmp_path: Path) -> None:
    """The same for some minutes."""
    check(daemon, tmp_path / "drop", kills=200, seed=99)


def check(daemon: Daemon, drop: Path, *, kills: int, seed: int) -> None:
    drop.mkdir()
    daemon.write_config("model: offline\n")
    daemon.start()
    fields = {"files": [str(drop)], "prompt": "{paths}", "mode": "act", "debounce_s": 0.05, "while_running": "count"}
    watch = daemon.call("watch.add", fields=fields)["watch"]
    rng = random.Random(seed)
    number = 0
    for round_ in range(kills):
        for _ in range(rng.randint(1, 4)):
            number = drop_file(drop, number)
            signal.sigtimedwait([], rng.uniform(0, LONGEST_S / 4))
        daemon.kill()
        number = drop_file(drop, number)  # while it is away
        point = {"HERMESD_FAILPOINT": f"{rng.choice(FAILPOINTS)}:{rng.randint(1, 4)}"} if round_ % 2 else {}
        try:
            daemon.start(**point)
        except NotReadyError:
            daemon.start()
    daemon.kill()
    daemon.start()
    seen = {str(path) for path in drop.glob("[0-9]*")}
    with daemon.connect(timeout_s=60) as wire:
        wire.send("events.watch", since=0)
        while taken(daemon.home) != seen:
            wire.until("events.event")
    settle(daemon)
    assert daemon.stop() == 0
    audit(daemon.home, watch["id"], seen)


def drop_file(drop: Path, number: int) -> int:
    """At once, as a careful program does: a file that is seen half written would count twice, and rightly."""
    (drop / ".partial").write_text(str(number))
    (drop / ".partial").rename(drop / f"{number:05}.txt")
    return number + 1


def taken(home: Path) -> set[str]:
    with apsw.Connection(str(home / "state.db"), flags=apsw.SQLITE_OPEN_READONLY) as db:
        db.set_busy_timeout(10_000)
        return {thing for (thing,) in db.execute("SELECT thing FROM watch_seen").fetchall()}


def audit(home: Path, watch: str, files: set[str]) -> None:
    db = apsw.Connection(str(home / "state.db"))
    runs = db.execute("SELECT inbox_id, state FROM runs WHERE job_id = ? ORDER BY id", (watch,)).fetchall()
    rows = db.execute("SELECT id, text, state FROM inbox WHERE source = ?", (f"watch:{watch}",)).fetchall()
    assert [inbox for inbox, _ in runs] == [inbox for inbox, _, _ in rows], "a run for each event"
    assert {state for _, state in runs} == {"handed"}
    assert {state for _, _, state in rows} <= {"done", "parked"}, "parked: cut twice while it was answered"
    told = Counter(line.split(" ", 1)[1] for _, text, _ in rows for line in text.splitlines() if " " in line)
    assert {path: count for path, count in told.items() if count != 1} == {}, "none twice"
    assert set(told) == files, "none left out"
    [(fired,)] = db.execute("SELECT fired FROM watches").fetchall()
    assert fired == len(runs)
    db.close()

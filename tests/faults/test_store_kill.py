"""SIGKILL at random moments and at every named point of the writer: accepted means durable."""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from hermesd.store.sqlite import SqliteStore

HERE = Path(__file__).parent
KILLS = 20


def _start(home: Path, round_number: int, failpoint: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, HERE / "store_child.py", "accept", home, str(round_number)],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1]), "HERMESD_FAILPOINT": failpoint},
        stdout=subprocess.PIPE,
    )


def _acknowledged(child: subprocess.Popen[bytes], *, kill_after_s: float) -> list[str]:
    """Read acknowledgements, kill the child that long after the first one, read what it still had written."""
    assert child.stdout is not None
    fd = child.stdout.fileno()
    data = os.read(fd, 65536)
    deadline = time.monotonic() + kill_after_s
    with selectors.DefaultSelector() as selector:
        selector.register(fd, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if selector.select(left):
                chunk = os.read(fd, 65536)
                data += chunk
                if not chunk:
                    break
    child.send_signal(signal.SIGKILL)
    data += child.stdout.read()
    child.stdout.close()
    child.wait()
    return data.decode().split()


def _stored(path: Path) -> list[str]:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        events = [int(row[0]) for row in db.execute("SELECT subject FROM events ORDER BY id")]
        rows = db.execute("SELECT id, delivery_id FROM inbox ORDER BY id").fetchall()
        assert events == [row[0] for row in rows]
        return [row[1] for row in rows]
    finally:
        db.close()


def test_what_was_acknowledged_survives_twenty_kills(tmp_path: Path) -> None:
    """Lost = 0, twice = 0; at most what was being committed is there without an acknowledgement."""
    chance = random.Random(24)
    acknowledged: set[str] = set()
    for number in range(KILLS):
        acknowledged |= set(_acknowledged(_start(tmp_path, number), kill_after_s=chance.uniform(0, 0.03)))
    SqliteStore.open(tmp_path / "state.db").close()
    stored = _stored(tmp_path / "state.db")
    assert len(stored) == len(set(stored))
    assert acknowledged - set(stored) == set()
    assert len(acknowledged) >= KILLS
    assert len(set(stored) - acknowledged) <= KILLS * 4


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("inbox.before_commit", False),
        ("store.before_commit", False),
        ("inbox.after_commit", True),
        ("store.after_commit", True),
    ],
)
def test_a_kill_around_the_commit_is_before_it_or_after_it(tmp_path: Path, name: str, kept: bool) -> None:
    """Before: nothing of the batch is there. After: all of it, although nobody was told."""
    child = _start(tmp_path, 0, failpoint=name)
    assert child.stdout is not None
    assert child.stdout.read() == b""
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    SqliteStore.open(tmp_path / "state.db").close()
    assert bool(_stored(tmp_path / "state.db")) == kept

"""Watches in a real daemon: real files and inotify, real commands, questions before anything is done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.servers.daemon import Daemon

ENDED = ("done", "failed", "dropped", "parked")


@pytest.fixture
def working(daemon: Daemon) -> Daemon:
    daemon.write_config("model: offline\npolicy:\n  tools: {terminal: allow}\n")
    (daemon.home / "scripts").mkdir(mode=0o700)
    return daemon.start()


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    directory = tmp_path / "notes"
    directory.mkdir()
    return directory


def added(daemon: Daemon, *arguments: str) -> dict[str, Any]:
    done = daemon.ctl("watch", "add", "--debounce", "0.1", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["watch"]


def runs(daemon: Daemon, watch: dict[str, Any]) -> list[dict[str, Any]]:
    return daemon.call("watch.runs", watch=watch["id"], limit=1000)["runs"]


def until(daemon: Daemon, holds: Callable[[], bool]) -> None:
    """Wait, event by event, until something holds."""
    with daemon.connect() as wire:
        wire.send("events.watch", since=0)
        while not holds():
            wire.until("events.event")


def until_ended(daemon: Daemon, watch: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Wait until so many runs have ended; all of them, newest first."""

    def ended() -> bool:
        return sum(run["state"] in ENDED for run in runs(daemon, watch)) >= count

    until(daemon, ended)
    return runs(daemon, watch)


def text_of(daemon: Daemon, run: dict[str, Any]) -> str:
    return str(daemon.call("inbox.show", id=run["run"]["inbox_id"])["row"]["text"])


def test_a_changed_file_begins_a_turn_that_names_it_as_text_from_outside(working: Daemon, notes: Path) -> None:
    """Made, shown, fired, tested and removed by the verb."""
    watch = added(working, "--file", f"{notes}/**/*.md", "Look at {path}: it was {event}.", "--act", "--name", "Notes")
    (notes / "deep").mkdir()
    (notes / "deep" / "a.md").write_text("one")
    [run] = until_ended(working, watch, 1)
    assert run["state"] == "done"
    path = f"<untrusted>\n{notes}/deep/a.md\n</untrusted>"
    assert text_of(working, run) == f"Look at {path}: it was created."
    assert "Notes" in working.ctl("watch").stdout
    assert str(notes) in working.ctl("watch", "show", "Notes").stdout
    assert "it sees 1 file, 0 not taken up yet" in working.ctl("watch", "test", "Notes").stdout
    assert "done" in working.ctl("watch", "runs", "Notes").stdout
    assert working.ctl("watch", "remove", "Notes").returncode == 0
    assert "no watches" in working.ctl("watch", "list").stdout
    (notes / "b.md").write_text("two")
    assert "no runs yet" in working.ctl("cron", "runs").stdout

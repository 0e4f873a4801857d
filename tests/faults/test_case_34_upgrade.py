"""Case 34: one release after the other on the same state file, forth and back, with traffic each time.

The releases before are real: wheels of earlier commits, built and installed. The one to come is this one with a
migration more, injected. Nothing that was accepted is lost, and what was processed stays processed.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from hermesd.store.sqlite import schema
from tests.faults.blackbox import Watch
from tests.servers import earlier_release
from tests.servers.daemon import Daemon, RpcFailure

ROOT = Path(__file__).parents[2]
METHOD_NOT_FOUND = -32601
NOW = schema.MIGRATIONS[-1].version

RELEASES = [
    pytest.param(earlier_release.SCHEMA_1, id="schema 1"),
    pytest.param("4299efc", id="schema 3", marks=pytest.mark.long),
]

NEXT = """\
# Fault injection: the release to come. Its migration adds a table, and a column that it fills in every new row.
from hermesd.store.sqlite import schema

schema.MIGRATIONS += (schema.Migration(version={version}, oldest_reader={oldest}, script=(
    "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;"
    "ALTER TABLE inbox ADD COLUMN flavour TEXT NOT NULL DEFAULT 'plain';"
    "CREATE TRIGGER flavoured AFTER INSERT ON inbox BEGIN INSERT INTO things (name) VALUES (new.delivery_id); END;"
)),)
schema.migrate.__kwdefaults__["migrations"] = schema.MIGRATIONS
"""


def release_to_come(place: Path, *, oldest: int = NOW) -> dict[str, str]:
    place.mkdir()
    (place / "sitecustomize.py").write_text(NEXT.format(version=NOW + 1, oldest=oldest))
    return {"PYTHONPATH": f"{place}{os.pathsep}{ROOT}"}


class Traffic:
    """Messages, each answered once, whoever runs."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.answers: dict[str, str] = {}
        self.cut: list[str] = []

    def some(self, release: str) -> None:
        """New messages, and all the earlier ones again under their delivery ids."""
        for name in self.cut:
            self.answers[name] = str(self._send(name)["text"])
        self.cut.clear()
        for number in range(2):
            name = f"{release}-{number}"
            self.answers[name] = self._send(name)["text"]
        for name, text in self.answers.items():
            again = self._send(name)
            assert again["duplicate"]
            assert again["text"] == text

    def begin(self, name: str) -> None:
        """One that is accepted, and whose turn runs; it is asked for again in ``some``."""
        with self._daemon.connect() as wire:
            wire.send("chat.send", text=f"hello {name}", delivery_id=name)
            wire.until("chat.update", kind="started")
        self.cut.append(name)

    def _send(self, name: str) -> dict[str, object]:
        return self._daemon.call("chat.send", text=f"hello {name}", delivery_id=name, quiet=True)

    def check(self) -> None:
        rows = self._daemon.call("inbox.list", states=["done"], limit=1000)["rows"]
        assert Counter(row["delivery_id"] for row in rows) == Counter(list(self.answers))
        found = self._daemon.call("sessions.search", query="hello", limit=1000)["hits"]
        assert len([hit for hit in found if hit["role"] == "user"]) == len(self.answers)


def schema_of(daemon: Daemon) -> dict[str, object]:
    return json.loads(daemon.ctl("--json", "upgrade-check").stdout)["state"]


@pytest.mark.parametrize("commit", RELEASES)
def test_an_earlier_release_takes_the_file_back(daemon: Daemon, commit: str) -> None:
    """Its file, migrated by this release and killed in a turn, is read, gone on with and written by what made it."""
    before = earlier_release.environment(commit)
    traffic = Traffic(daemon)
    daemon.env = before
    daemon.start()
    traffic.some("before")
    assert daemon.stop() == 0
    daemon.env = {}
    assert schema_of(daemon)["verdict"] == "migrates"
    assert schema_of(daemon)["can_go_back"]
    for name, environment in (("this", {}), ("back", before), ("again", {})):
        daemon.env = environment
        daemon.start()
        assert is_this_release(daemon) == (environment is not before)
        traffic.some(name)
        traffic.check()
        assert daemon.ctl("sessions", "list").returncode == 0
        traffic.begin(f"cut-{name}")
        daemon.kill()
    daemon.start()
    traffic.some("end")
    traffic.check()
    assert daemon.stop() == 0
    assert schema_of(daemon)["found"] == NOW


def is_this_release(daemon: Daemon) -> bool:
    """By a method that the earlier ones do not have."""
    try:
        daemon.call("daemon.unfinished")
    except RpcFailure as error:
        if error.code == METHOD_NOT_FOUND:
            return False
        raise
    return True


def test_the_release_to_come_and_back_again(daemon: Daemon, tmp_path: Path) -> None:
    """This release reads and writes what the next one has migrated, and the next one goes on with that."""
    to_come = release_to_come(tmp_path / "next")
    traffic = Traffic(daemon)
    for name, environment in (("this", {}), ("next", to_come), ("back", {}), ("again", to_come)):
        daemon.start(**environment)
        traffic.some(name)
        traffic.check()
        daemon.kill()
    assert schema_of(daemon) | {"path": ""} == {
        "path": "",
        "found": NOW + 1,
        "known": NOW,
        "verdict": "newer",
        "can_go_back": True,
    }


def test_a_release_that_cannot_read_the_file_says_so_and_leaves_it(daemon: Daemon, tmp_path: Path) -> None:
    """A migration that contracts: upgrade-check warned before, and refuses afterwards; the newer release still runs."""
    contracting = release_to_come(tmp_path / "next", oldest=NOW + 1)
    daemon.start()
    traffic = Traffic(daemon)
    traffic.some("this")
    assert daemon.stop() == 0
    before = daemon.ctl("upgrade-check")
    daemon.env = contracting
    warned = daemon.ctl("upgrade-check")
    assert "the release before it cannot read it" in warned.stdout
    assert "the release before it" not in before.stdout
    daemon.start()
    traffic.some("next")
    assert daemon.stop() == 0
    daemon.env = {}
    refused = daemon.ctl("upgrade-check")
    assert refused.returncode == 1
    assert "cannot read" in refused.stderr
    daemon.start(wait=False)
    assert daemon.wait() == 1
    assert f"schema {NOW + 1}, this release knows {NOW}" in daemon.output
    daemon.env = contracting
    daemon.start()
    traffic.check()


def test_what_a_restart_would_interrupt_is_told_with_what_becomes_of_it(daemon: Daemon) -> None:
    """A turn goes on; a background process does not, and then the status is 75."""
    daemon.write_config("policy: {unsafe: allow, tools: {terminal: allow}}\n")
    daemon.start()
    with daemon.connect() as wire:
        events = Watch(wire)
        daemon.call("chat.send", text="slow 600", wait=False, quiet=True)
        events.until("turn.started")
        found = daemon.ctl("upgrade-check")
        assert found.returncode == 0
        assert "turn of default" in found.stdout
        assert "gone on with afterwards" in found.stdout
        newest = daemon.call("events.list", limit=1)["last_id"]
    daemon.kill()
    daemon.start()
    with daemon.connect() as wire:
        Watch(wire, newest).until("turn.started")
    assert [(item["kind"], item["fate"]) for item in daemon.call("daemon.unfinished")["work"]] == [("turn", "resumed")]
    daemon.call("chat.send", text="background sleep 600", new=True, quiet=True)
    found = daemon.ctl("upgrade-check")
    assert found.returncode == 75
    assert "process of default" in found.stdout
    assert "sleep 600" in found.stdout
    assert "would not go on" in found.stderr

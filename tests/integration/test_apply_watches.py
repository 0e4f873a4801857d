"""Watches in a manifest: made and at work when the apply returns, changed, removed; exported as they are."""

from __future__ import annotations

from pathlib import Path

from tests.integration.test_apply import applied, plan, written
from tests.servers.daemon import Daemon

WATCHES = """\
version: 1
watches:
  Notes:
    files: [{notes}]
    prompt: Say what has changed.
    mode: act
  Disk:
    command: disk.sh
    every: every 1h
    prompt: Is the disk full?
"""


def test_watches_are_made_changed_exported_and_removed(daemon: Daemon, tmp_path: Path) -> None:
    """A second plan is empty; one that was changed by hand is put back."""
    daemon.write_config("model: offline\n")
    (daemon.home / "scripts").mkdir(mode=0o700)
    (daemon.home / "scripts" / "disk.sh").write_text("df / | tail -1\n")
    notes = tmp_path / "notes"
    notes.mkdir()
    daemon.start()
    text = WATCHES.replace("{notes}", str(notes))
    file = written(daemon, text)
    assert "2 created" in applied(daemon, file)
    assert plan(daemon, file)["pending"] == 0
    found = {watch["name"]: watch for watch in daemon.call("watch.list")["watches"]}
    assert sorted(found) == ["Disk", "Notes"]
    assert daemon.ctl("watch", "test", "Notes").returncode == 0
    daemon.ctl("watch", "pause", "Disk")
    assert plan(daemon, file)["pending"] == 0, "paused is not said, so it is whoever's"
    done = daemon.ctl("plan", "--export")
    assert daemon.ctl("plan", "-f", "-", stdin=done.stdout).returncode == 0
    daemon.ctl("watch", "resume", "Disk")
    written(daemon, text.replace("every 1h", "every 2h").replace("mode: act", "mode: suggest"))
    assert "2 updated" in applied(daemon, file)
    assert plan(daemon, file)["pending"] == 0
    written(daemon, "version: 1\n")
    assert "2 deleted" in applied(daemon, file)
    assert not daemon.call("watch.list")["watches"]

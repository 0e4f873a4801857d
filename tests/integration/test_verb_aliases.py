"""Other words for actions, through a real hermesd."""

from __future__ import annotations

import json

from tests.servers.daemon import Daemon


def test_a_job_is_made_listed_and_removed_by_its_other_words(daemon: Daemon) -> None:
    """What the words do is what the actions do."""
    daemon.start()
    assert daemon.ctl("cron", "add", "every 30m", "look", "--name", "looking").returncode == 0
    assert daemon.ctl("cron", "ls").stdout == daemon.ctl("cron", "list").stdout
    [job] = json.loads(daemon.ctl("--json", "cron", "ls", "-a").stdout)["jobs"]
    assert job["name"] == "looking"
    assert daemon.ctl("cron", "rm", "looking").returncode == 0
    assert json.loads(daemon.ctl("cron", "ls", "--json").stdout)["jobs"] == []


def test_a_webhook_is_made_listed_and_removed_by_its_other_words(daemon: Daemon) -> None:
    """Routes stand in a file, which hermesctl changes itself."""
    daemon.start()
    assert daemon.ctl("webhook", "add", "deploy", "--prompt", "x").returncode == 0
    assert "deploy" in daemon.ctl("webhook", "ls").stdout
    assert daemon.ctl("webhook", "rm", "deploy").returncode == 0
    assert "deploy" not in daemon.ctl("webhook", "ls").stdout

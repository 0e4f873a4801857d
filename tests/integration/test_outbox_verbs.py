"""``hermesctl outbox`` over a real daemon: several targets, each with its own attempts and its own end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.blackbox import events
from tests.servers.daemon import Daemon
from tests.servers.github import TOKEN, Github, as_github_documents


@pytest.fixture
def github() -> Iterator[Github]:
    with as_github_documents() as server:
        yield server


@pytest.fixture
def tried(daemon: Daemon, github: Github) -> Daemon:
    """An answer that went to four targets: one is sent, one waits for another try, two are dead letters."""
    config = f"""\
model: offline
platforms:
  github: {{base_url: '{github.base_url}'}}
  webhook: {{deliver_private: true}}
"""
    daemon.write_config(config, env=f"GITHUB_TOKEN={TOKEN}\n")
    daemon.start()
    github.answers = [(403, {"retry-after": "600"}, "You have exceeded a secondary rate limit.")]
    targets = "local,github_comment:octo/parrot#7,github_comment:octo/nothing#1,webhook:http://127.0.0.1:9/"
    with events(daemon) as watch:
        done = daemon.ctl("cron", "create", "every 1d", "Say hello.", "--deliver", targets, "--name", "Hello")
        assert done.returncode == 0, done.stderr
        assert daemon.ctl("cron", "run", "Hello").returncode == 0
        seen: dict[str, int] = {}
        while seen.get("outbox.dead", 0) < 2 or not seen.get("outbox.sent") or not seen.get("outbox.retry"):
            kind = watch.until_any("outbox.dead", "outbox.sent", "outbox.retry")["kind"]
            seen[kind] = seen.get(kind, 0) + 1
    return daemon


def rows(daemon: Daemon, *flags: str) -> dict[str, dict[str, Any]]:
    """Target → row."""
    found = json.loads(daemon.ctl("outbox", "list", *flags, "--json").stdout)["rows"]
    return {f"{row['address']['platform']}:{row['address'].get('chat', '')}".rstrip(":"): row for row in found}


def test_each_target_has_its_row_its_tries_and_its_end(tried: Daemon, github: Github) -> None:
    """One that waits or is given up holds up none of the others; a mended one is sent when a person says so."""
    assert {target: row["state"] for target, row in rows(tried, "-a").items()} == {
        "local": "sent",
        "github_comment:octo/parrot#7": "pending",
        "github_comment:octo/nothing#1": "dead",
        "webhook:http://127.0.0.1:9/": "dead",
    }
    dead = rows(tried, "--dead")
    assert set(dead) == {"github_comment:octo/nothing#1", "webhook:http://127.0.0.1:9/"}

    number = str(dead["github_comment:octo/nothing#1"]["id"])
    shown = tried.ctl("outbox", "show", number).stdout
    for part in ("dead", "octo/nothing#1", "attempts", "GitHub answered 404", "offline", f"outbox retry {number}"):
        assert part in shown
    waits = rows(tried)["github_comment:octo/parrot#7"]
    assert "next try" in tried.ctl("outbox", "show", str(waits["id"])).stdout

    github.issues.add("octo/nothing#1")
    with events(tried) as watch:
        assert tried.ctl("outbox", "retry", number).returncode == 0
        watch.until("outbox.sent", id=int(number))
    assert len(github.bodies("octo/nothing#1")) == 1
    other = str(dead["webhook:http://127.0.0.1:9/"]["id"])
    assert tried.ctl("outbox", "drop", other).returncode == 0
    assert "no dead letters" in tried.ctl("outbox", "--dead").stdout


def test_what_cannot_be_decided_is_refused_with_the_next_step(tried: Daemon) -> None:
    """A row that is sent, one that is not there, and words that are no number."""
    sent = str(rows(tried, "-a")["local"]["id"])
    cases = [
        (["retry", sent], "is sent"),
        (["drop", sent], "is sent"),
        (["show", "999"], "no outbox row 999"),
        (["retry", "999"], "no outbox row 999"),
        (["drop", "x"], "invalid int value"),
        (["list", "--state", "lost"], "lost"),
    ]
    for words, said in cases:
        done = tried.ctl("outbox", *words)
        assert done.returncode in (1, 2), words
        assert said in done.stderr
        assert "→" in done.stderr, f"{words} names no next step: {done.stderr}"

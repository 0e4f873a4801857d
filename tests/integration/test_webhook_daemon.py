"""Webhooks through a real daemon: filters, waiting for the answer, completed targets, routes of hermes-agent's."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import crabline
from tests.servers.daemon import HTTP, Daemon

pytestmark = pytest.mark.loaded(HTTP)

SECRET = "a long and quiet secret"
PULL = {
    "action": "opened",
    "number": 7,
    "pull_request": {"number": 7, "title": "Fix the lock", "user": {"login": "ann"}},
    "repository": {"full_name": "acme/site"},
    "chat": 42,
}

TELEGRAM = """\
  telegram:
    enabled: true
    base_url: {platform.base_url}
    token: '{platform.token}'
    home_channel: 7
    allowed_users: [7]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Site:
    """A daemon with webhooks on a port of its own."""

    def __init__(self, daemon: Daemon, routes: str, more: str = "", *, model: str = "model: offline\n") -> None:
        self.daemon = daemon
        self.port = free_port()
        daemon.write_config(
            f"{model}platforms:\n  webhook:\n    enabled: true\n    port: {self.port}\n    secret: {SECRET}\n"
            f"    rate_per_minute: 1000\n    routes:\n{routes}{more}"
        )
        daemon.start()
        ok = daemon.ctl("gateway", "start")
        assert ok.returncode == 0, ok.stderr

    def request(self, path: str, payload: object = PULL, **fields: str) -> http.client.HTTPConnection:
        """A signed request, sent and not yet answered."""
        body = json.dumps(payload).encode()
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Event": "pull_request", **fields}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return connection

    def post(self, path: str, payload: object = PULL, **fields: str) -> tuple[int, Any]:
        """Status and JSON of a signed request."""
        with contextlib.closing(self.request(path, payload, **fields)) as connection:
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def rows(self) -> list[dict[str, Any]]:
        states = ["pending", "running", "done", "failed", "parked", "dropped"]
        rows: list[dict[str, Any]] = self.daemon.call("inbox.list", states=states)["rows"]
        return rows

    def sent(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.daemon.call("outbox.list", states=["sent"])["rows"]
        return rows


# -- filters -----------------------------------------------------------------------------------------------------------


def test_an_event_that_passes_no_filter_is_ignored_with_the_reason(daemon: Daemon) -> None:
    """200, so that the sender is content; counted, and nothing is stored. A list in a file counts as it is now."""
    people = daemon.home / "people.txt"
    people.write_text("bob\n")
    site = Site(
        daemon,
        """\
      picky:
        filters:
          - {field: action, in: [opened, synchronize]}
          - any:
              - {field: pull_request.title, regex: '^\\[auth\\]'}
              - {field: pull_request.user.login, in_file: ~/.hermes/people.txt}
""",
    )
    refused = {"status": "ignored", "reason": "filter", "filter": "filters[1]"}
    assert site.post("/webhooks/picky") == (200, refused)
    assert site.post("/webhooks/picky", PULL | {"action": "closed"}) == (200, refused | {"filter": "filters[0]"})
    assert site.post("/webhooks/picky", {}) == (200, refused | {"filter": "filters[0]"})
    assert site.rows() == []
    people.write_text("bob\nann\n")
    assert site.post("/webhooks/picky")[0] == 202
    shown = daemon.ctl("webhook", "show", "picky")
    assert "1, 0 repeated, 3 ignored" in shown.stdout
    assert '{"field":"action","in":["opened","synchronize"]}' in shown.stdout


def test_filters_in_their_short_form(daemon: Daemon) -> None:
    """From the command line into config.yaml; what is no filter changes nothing."""
    site = Site(daemon, "      other: {}\n")
    words = [
        "action=opened",
        "pull_request.number!=8",
        "pull_request.title*=lock",
        "repository.full_name~^acme/",
        "chat",
    ]
    words += ["!draft", "{any: [{field: number, equals: 7}]}"]
    filters = [word for each in words for word in ("--filter", each)]
    made = daemon.ctl("webhook", "subscribe", "picky", *filters, "--secret", "-", stdin=SECRET)
    assert made.returncode == 0, made.stderr
    assert site.post("/webhooks/picky")[0] == 202
    for change in (
        {"action": "closed"},
        {"pull_request": {"number": 8, "title": "lock"}},
        {"draft": True},
        {"number": 8},
    ):
        assert site.post("/webhooks/picky", PULL | change)[0] == 200
    before = (daemon.home / "config.yaml").read_bytes()
    for word, said in {"=x": "is no filter", "a~(b+)+": "filters[0].regex", "{a: 1}": "an unknown operator"}.items():
        refused = daemon.ctl("webhook", "subscribe", "more", "--filter", word)
        assert refused.returncode != 0
        assert said in refused.stderr
    assert (daemon.home / "config.yaml").read_bytes() == before


# -- waiting for the answer --------------------------------------------------------------------------------------------


def test_a_request_may_wait_for_its_answer(daemon: Daemon) -> None:
    """JSON with the id of the run, or the text alone; the same delivery gets the same answer without a second run."""
    site = Site(daemon, "      ask: {prompt: 'echo {action}', deliver: local}\n      out: {deliver_only: true}\n")
    status, first = site.post("/webhooks/ask?wait=30", X_Request_ID="r-1")
    assert (status, first["status"], first["delivery_id"], first["duplicate"]) == (200, "done", "r-1", False)
    assert "opened" in first["text"]
    status, again = site.post("/webhooks/ask?wait=30", X_Request_ID="r-1")
    assert (status, again) == (200, first | {"duplicate": True})
    with contextlib.closing(site.request("/webhooks/ask?wait=30", Accept="text/plain")) as connection:
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.read().decode() == first["text"]
    assert len(site.rows()) == 2
    for wrong in ("soon", "-1", "1e3", "", "1&wait=2"):
        assert site.post(f"/webhooks/ask?wait={wrong}")[0] == 400
    status, said = site.post("/webhooks/out?wait=5")
    assert status == 400
    assert "no answer to wait for" in said["error"]
    assert len(site.rows()) == 2


@pytest.fixture
def slow(daemon: Daemon) -> Iterator[Site]:
    """An agent whose model never answers, but for the route ``quick``."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        yield Site(
            daemon,
            "      ask: {prompt: hello, deliver: local}\n"
            "      quick: {prompt: hello, deliver: local, model: offline, provider: offline}\n",
            f"shutdown: {{drain_s: 1}}\nmodel: {{default: m, provider: openai, base_url: '{url}', api_key: k}}\n",
            model="",
        )


def test_a_wait_that_is_too_short_ends_with_the_id(slow: Site) -> None:
    """202, and the run goes on."""
    status, said = slow.post("/webhooks/ask?wait=0.2")
    assert (status, said["status"], said["reason"]) == (202, "accepted", "not answered in time")
    [row] = slow.rows()
    assert row["id"] == said["id"]
    assert row["state"] in ("pending", "running")


def test_who_leaves_cancels_nothing(slow: Site) -> None:
    """The event was accepted before the wait began."""
    with slow.daemon.connect(60) as wire:
        wire.send("events.watch", since=0)
        slow.request("/webhooks/quick?wait=30", X_Request_ID="gone").close()
        while not (rows := slow.rows()) or rows[0]["state"] != "done":
            wire.until("events.event")


def test_a_stop_does_not_wait_for_those_who_wait(slow: Site) -> None:
    """They are told that there is no answer yet; after the start the run goes on, and may be waited for again."""
    said: list[tuple[int, Any]] = []
    waiter = threading.Thread(target=lambda: said.append(slow.post("/webhooks/ask?wait=60", X_Request_ID="r")))
    with slow.daemon.connect(60) as wire:
        wire.send("events.watch", since=0)
        waiter.start()
        while not slow.rows():
            wire.until("events.event")
    assert slow.daemon.stop() == 0
    waiter.join(30)
    assert said[0][0] == 202
    assert said[0][1]["reason"] == "not answered in time"


def test_only_so_many_wait_for_one_route(slow: Site) -> None:
    """The next one has its 202 at once, others routes are answered."""
    waiting = [slow.request("/webhooks/ask?wait=60", X_Request_ID=f"r-{number}") for number in range(16)]
    try:
        with slow.daemon.connect(60) as wire:
            wire.send("events.watch", since=0)
            while len(slow.rows()) < 16:
                wire.until("events.event")
        status, said = slow.post("/webhooks/ask?wait=60")
        assert (status, said["reason"]) == (202, "too many requests wait")
        assert len(slow.rows()) == 17
    finally:
        for connection in waiting:
            connection.close()


# -- targets -----------------------------------------------------------------------------------------------------------


def test_an_answer_goes_to_the_chat_that_the_payload_names(daemon: Daemon, tmp_path: Path) -> None:
    """As deliver_extra says, with a template."""
    with crabline.telegram(tmp_path / "crabline") as platform:
        telegram = TELEGRAM.format(platform=platform)
        route = "      ask: {prompt: hello, deliver: telegram, deliver_extra: {chat_id: '{chat}'}}\n"
        site = Site(daemon, route, telegram)
        with daemon.connect(60) as wire:
            wire.send("events.watch", since=0)
            assert site.post("/webhooks/ask")[0] == 202
            while not (sent := site.sent()):
                wire.until("events.event")
    assert sent[0]["address"] == {"platform": "telegram", "chat": "42"}


# -- hermes-agent's file -----------------------------------------------------------------------------------------------

SUBSCRIPTIONS = {
    "deploys": {
        "description": "Deployments",
        "events": ["deployment"],
        "secret": SECRET,
        "prompt": "Deployed {deployment.ref}",
        "skills": [],
        "deliver": "local",
        "created_at": "2026-03-01T10:00:00Z",
    },
    "picky": {"secret": "s2", "prompt": "x", "filters": {"field": "action", "equals": "opened"}, "enabled": True},
    "scripted": {"secret": "s3", "prompt": "x", "script": "pick.py"},
    "open": {"secret": "INSECURE_NO_AUTH", "prompt": "x"},
    "there": {"secret": "s4", "prompt": "x"},
    "broken": {"secret": "s5", "filters": [{"field": "a", "regex": "("}]},
    "nowhere": {"secret": "s6", "deliver": "slack"},
    "a b": {"secret": "s7"},
    "list": ["s8"],
}


def test_routes_of_hermes_agent_are_taken_over_once(daemon: Daemon) -> None:
    """Into config.yaml and .env; the file stays as it is, what cannot be taken over is named, a second time nothing."""
    site = Site(daemon, "      there: {prompt: ours}\n")
    file = daemon.home / "webhook_subscriptions.json"
    file.write_text(json.dumps(SUBSCRIPTIONS))
    file.chmod(0o600)
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    done = daemon.ctl("webhook", "import")
    assert done.returncode == 0, done.stderr
    assert "took over 4 " in done.stdout
    for said in (
        "there: there is a webhook 'there' already",
        "scripted is disabled",
        "open has no secret",
        "broken: filters[0].regex",
        "nowhere: deliver 'slack'",
        "a b: is not a route's name",
        "list: ",
    ):
        assert said in done.stdout, done.stdout
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    env = daemon.home / ".env"
    assert SECRET in env.read_text()
    assert env.stat().st_mode & 0o777 == 0o600
    assert all(secret not in (daemon.home / "config.yaml").read_text() for secret in ("s2", "s3", "s4"))
    accepted = site.post("/webhooks/deploys", {"deployment": {"ref": "v2"}}, X_GitHub_Event="deployment")
    assert accepted[0] == 202
    assert site.rows()[0]["text"] == "Deployed v2"
    assert site.post("/webhooks/scripted")[0] == 403
    files = [(daemon.home / name).read_bytes() for name in ("config.yaml", ".env")]
    again = daemon.ctl("webhook", "import", str(file))
    assert "took over 0 " in again.stdout
    assert [(daemon.home / name).read_bytes() for name in ("config.yaml", ".env")] == files
    assert daemon.ctl("webhook", "import", "/nothing/there").returncode == 2


# -- the announcement's examples ---------------------------------------------------------------------------------------

SEED = {
    "auth-watch": """\
hermes webhook subscribe auth-watch \\
  --events "pull_request" \\
  --prompt "PR #{pull_request.number}: {pull_request.title} by {pull_request.user.login}. Check if it touches the \
auth-provider module. If yes, summarize the changes." \\
  --deliver slack
""",
    "alert-triage": """\
hermes webhook subscribe alert-triage \\
  --prompt "Alert: {alert.name} — Severity: {alert.severity}. Find the owning service, investigate, and post a triage \
summary with proposed first steps." \\
  --deliver slack
""",
}
RENDERED = {
    "auth-watch": "PR #7: Fix the lock by ann. Check if it touches",
    "alert-triage": "Alert: disk — Severity: high. Find the owning service",
}


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """A directory in which ``hermes`` is hermesctl."""
    program = tmp_path / "bin" / "hermes"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hermesctl "$@"\n')
    program.chmod(0o755)
    return program.parent


@pytest.mark.parametrize("name", SEED)
def test_the_announcements_examples_as_they_are_printed(daemon: Daemon, shell: Path, tmp_path: Path, name: str) -> None:
    """Slack is no platform here: that is said, and nothing changes. With a platform that there is, all of it works."""
    env = {**os.environ, "HERMES_HOME": str(daemon.home), "PATH": f"{shell}:{os.environ['PATH']}"}

    def sh(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=60, env=env, check=False)

    with crabline.telegram(tmp_path / "crabline") as platform:
        telegram = TELEGRAM.format(platform=platform)
        site = Site(daemon, "      other: {}\n", telegram)
        before = (daemon.home / "config.yaml").read_bytes()
        refused = sh(SEED[name])
        assert refused.returncode != 0
        assert "deliver 'slack'" in refused.stderr
        assert (daemon.home / "config.yaml").read_bytes() == before
        made = sh(SEED[name].replace("slack", "telegram"))
        assert made.returncode == 0, made.stderr
        secret = made.stdout.split("secret  ")[1].split()[0]
        with daemon.connect(60) as wire:
            wire.send("events.watch", since=0)
            payload = PULL | {"alert": {"name": "disk", "severity": "high"}}
            body = json.dumps(payload).encode()
            digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            assert site.post(f"/webhooks/{name}", payload, X_Hub_Signature_256=f"sha256={digest}")[0] == 202
            while not (sent := site.sent()):
                wire.until("events.event")
    assert sent[0]["address"] == {"platform": "telegram", "chat": "7"}
    assert site.rows()[0]["text"].startswith(RENDERED[name])

"""Every command of the text that hermes-agent's routines are known by, as printed there, with ``hermesctl`` for
``hermes``: in a shell, against a real daemon, Telegram and Slack servers (Crabline), a model's endpoint (llmock)."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.blackbox import events, free_port
from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.daemon import HTTP, Daemon
from tests.servers.llmock import LlmockServer, run_llmock

NIGHTLY = r"""
hermesctl cron create "0 2 * * *" \
  "Pull the top bug from the issue tracker, attempt a fix, and open a draft PR." \
  --name "Nightly bug fix" \
  --deliver telegram
"""
AUTH_WATCH = r"""
hermesctl webhook subscribe auth-watch \
  --events "pull_request" \
  --prompt "PR #{pull_request.number}: {pull_request.title} by {pull_request.user.login}. Check if it touches the auth-provider module. If yes, summarize the changes." \
  --deliver slack
"""  # noqa: E501 - as printed
ALERT_TRIAGE = r"""
hermesctl webhook subscribe alert-triage \
  --prompt "Alert: {alert.name} — Severity: {alert.severity}. Find the owning service, investigate, and post a triage summary with proposed first steps." \
  --deliver slack
"""  # noqa: E501 - as printed
PRICING = r"""
hermesctl cron create "every 1h" \
  "If CHANGE DETECTED, summarize what changed. If NO_CHANGE, respond with [SILENT]." \
  --script ~/.hermes/scripts/watch-site.py \
  --name "Pricing monitor" \
  --deliver telegram
"""
DIGEST = r"""
hermesctl cron create "0 8 * * *" \
  "Search arXiv for papers on language model reasoning. Save the top 3 as Obsidian notes." \
  --skills "arxiv,obsidian" \
  --name "Paper digest"
"""
TARGETS = """
--deliver telegram                      # Telegram home channel
--deliver discord                       # Discord home channel
--deliver slack                         # Slack channel
--deliver sms:+15551234567              # Text message
--deliver telegram:-1001234567890:42    # Specific Telegram forum topic
--deliver local                         # Save to file, no notification
"""


class Place:
    """A home at ``~/.hermes`` with its daemon, and a shell in which ``hermesctl`` is a command."""

    def __init__(self, directory: Path) -> None:
        self.daemon = Daemon(directory / ".hermes", loaded=HTTP)
        self.port = free_port()
        self.daemon.home.mkdir(mode=0o700)
        binaries = directory / "bin"
        binaries.mkdir()
        command = binaries / "hermesctl"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m hermesctl "$@"\n')
        command.chmod(0o755)
        self._environment = {
            **os.environ,
            "HOME": str(directory),
            "HERMES_HOME": str(self.daemon.home),
            "PATH": f"{binaries}:{os.environ['PATH']}",
        }

    def shell(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", text], env=self._environment, capture_output=True, text=True, timeout=60, check=False
        )

    def done(self, text: str) -> str:
        found = self.shell(text)
        assert found.returncode == 0, found.stderr + found.stdout
        return found.stdout

    def write(self, path: str, text: str) -> None:
        file = self.daemon.home / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(text)

    def add_chats(self, slack: Crabline) -> None:
        """Home channels in Slack and Discord, and an account for text messages."""
        for key, value in {
            "platforms.slack.base_url": slack.base_url,
            "platforms.slack.token": slack.token,
            "platforms.slack.home_channel": "C0000000001",
            "platforms.discord.home_channel": "135000000000000010",
        }.items():
            self.done(f"hermesctl config set {key} {shlex.quote(value)}")
        self.done("hermesctl reload")

    def job(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.call("cron.show", job=name)["job"]
        return found

    def post(self, route: str, payload: dict[str, Any], event: str) -> int:
        """A delivery signed as GitHub signs; the status."""
        route_name = route.upper().replace("-", "_")
        found = re.search(rf"^\w*{route_name}\w*=(\S+)$", (self.daemon.home / ".env").read_text(), re.MULTILINE)
        assert found is not None
        body = json.dumps(payload).encode()
        digest = hmac.new(found[1].strip("'\"").encode(), body, hashlib.sha256).hexdigest()
        headers = {
            "X-Hub-Signature-256": f"sha256={digest}",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": f"delivery-{route}",
            "Content-Type": "application/json",
        }
        url = f"http://127.0.0.1:{self.port}/webhooks/{route}"
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
            return int(answer.status)

    def run(self, name: str) -> dict[str, Any]:
        """Start a job by hand; its run, once its turn is over and what it said is delivered."""
        job = self.job(name)["id"]
        with events(self.daemon, since=self.daemon.call("events.list", since=0, limit=1000)["last_id"]) as watch:
            self.daemon.call("cron.run", job=job)
            while True:
                watch.until_any("turn.finished", "outbox.sent", "run.failed")
                run: dict[str, Any] = self.daemon.call("cron.runs", job=job)["runs"][0]
                if run["state"] in ("done", "failed") and all(
                    each.endswith("sent") for each in run.get("deliveries", [])
                ):
                    return run


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LlmockServer]:
    with run_llmock() as server:
        yield server


@pytest.fixture
def llmock(endpoint: LlmockServer) -> LlmockServer:
    """It has forgotten everything before this test."""
    endpoint.reset()
    return endpoint


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as server:
        yield server


@pytest.fixture(scope="module")
def slack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crabline]:
    with crabline.serving("slack", tmp_path_factory.mktemp("slack")) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, bot: Crabline, llmock: LlmockServer) -> Iterator[Place]:
    """A profile at a bot whose home channel is written as hermes-agent writes it."""
    found = Place(tmp_path)
    config = f"""\
model: {{provider: openai, default: gpt-test, base_url: {llmock.base_url("openai")}, api_key: not-secret}}
platforms:
  telegram:
    enabled: true
    base_url: {bot.base_url}
    allowed_users: [7]
    poll_timeout_s: 1
    home_channel: {{platform: telegram, chat_id: '7', name: Home}}
  webhook: {{enabled: true, port: {found.port}}}
"""
    found.daemon.write_config(config, env=f"TELEGRAM_BOT_TOKEN={bot.token}\n")
    found.daemon.start()
    found.daemon.call("gateway.start")
    try:
        yield found
    finally:
        found.daemon.kill()


def test_the_nightly_job_is_made_for_two_at_night_and_its_answer_arrives(
    place: Place, bot: Crabline, llmock: LlmockServer
) -> None:
    """Its answer is a message in the home channel."""
    assert "02:00:00" in place.done(NIGHTLY)
    job = place.job("Nightly bug fix")
    assert (job["schedule"], job["fields"]["deliver"]) == ("0 2 * * *", "telegram")
    llmock.script({"type": "reply", "text": "PR 12 is open."})
    run = place.run("Nightly bug fix")
    assert run["deliveries"] == ["telegram: sent"]
    assert bot.shown(7) == ["PR 12 is open."]


def test_a_script_comes_before_the_agent_and_silence_is_not_sent(
    place: Place, bot: Crabline, llmock: LlmockServer
) -> None:
    """What it prints is context; [SILENT] sends nothing."""
    place.write("scripts/watch-site.py", "print('CHANGE DETECTED: the plan is 9 now')\n")
    place.done(PRICING)
    llmock.script({"type": "reply", "text": "The plan costs 9 now."})
    place.run("Pricing monitor")
    asked = json.dumps(llmock.requests()[-1])
    assert "CHANGE DETECTED: the plan is 9 now" in asked
    assert "respond with [SILENT]" in asked
    place.write("scripts/watch-site.py", "print('NO_CHANGE')\n")
    llmock.script({"type": "reply", "text": "[SILENT]"})
    assert place.run("Pricing monitor").get("deliveries", []) == []
    assert bot.shown(7) == ["The plan costs 9 now."]


def test_skills_are_given_to_the_agent_in_their_order(place: Place, llmock: LlmockServer) -> None:
    """Without --deliver the answer is a file."""
    place.write("skills/research/arxiv/SKILL.md", "Ask the arXiv API.")
    place.write("skills/notes/obsidian/SKILL.md", "Notes are Markdown files.")
    place.done(DIGEST)
    llmock.script({"type": "reply", "text": "Three notes."})
    place.run("Paper digest")
    asked = json.dumps(llmock.requests()[-1])
    assert asked.index("Ask the arXiv API.") < asked.index("Notes are Markdown") < asked.index("Search arXiv")
    assert [path.read_text() for path in (place.daemon.home / "outbox").iterdir()] == ["Three notes."]


@pytest.mark.parametrize(
    ("name", "command", "sample", "asked"),
    [
        (
            "auth-watch",
            AUTH_WATCH,
            {"pull_request": {"number": 7, "title": "Rename", "user": {"login": "ada"}}},
            "PR #7: Rename by ada. Check if it touches",
        ),
        (
            "alert-triage",
            ALERT_TRIAGE,
            {"alert": {"name": "disk full", "severity": "high"}},
            "Alert: disk full — Severity: high. Find",
        ),
    ],
)
def test_a_webhook_fills_its_prompt_from_the_payload(
    place: Place, slack: Crabline, llmock: LlmockServer, name: str, command: str, sample: dict[str, Any], asked: str
) -> None:
    """Refused as long as Slack has no home channel; then the answer arrives there."""
    refused = place.shell(command)
    assert refused.returncode == 78
    assert "set platforms.slack.home_channel, or write slack:<chat>" in refused.stderr
    place.add_chats(slack)
    place.done(command)
    llmock.script({"type": "reply", "text": f"Looked at {name}."})
    with events(place.daemon) as watch:
        assert place.post(name, sample, "pull_request") == 202
        watch.until("outbox.sent", platform="slack")
    assert asked in json.dumps(llmock.requests()[-1], ensure_ascii=False)
    assert slack.calls("chat.postMessage")[-1]["text"] == f"Looked at {name}."


@pytest.mark.parametrize("line", [line for line in TARGETS.splitlines() if line])
def test_each_target_is_taken(place: Place, slack: Crabline, line: str) -> None:
    """One automation, any destination; a shell drops the comment."""
    place.add_chats(slack)
    target = line.split()[1]
    found = place.shell(f'hermesctl cron create "every 1d" "Say hello." --name Hello {line}')
    assert found.returncode == 0, found.stderr
    assert place.job("Hello")["fields"]["deliver"] == target


def test_a_platform_that_is_not_there_yet_is_named(place: Place) -> None:
    """With those that are."""
    refused = place.shell('hermesctl cron create "every 1d" "Say hello." --deliver matrix')
    assert refused.returncode == 78
    assert "there is no platform 'matrix' yet" in refused.stderr
    assert "→ deliver to discord, slack, sms, telegram" in refused.stderr


@pytest.mark.parametrize(("target", "chats"), [("all", ["7"]), ("origin", ["7"]), ("telegram:7:42", ["7"])])
def test_a_target_without_a_chat_of_its_own_goes_to_the_home_channel(
    place: Place, bot: Crabline, llmock: LlmockServer, target: str, chats: list[str]
) -> None:
    """``all`` to every one, ``origin`` of a job that was made in a shell to the first; a topic keeps its number."""
    place.done(f'hermesctl cron create "every 1d" "Say hello." --name Hello --deliver {target}')
    llmock.script({"type": "reply", "text": "Hello."})
    place.run("Hello")
    sent = bot.calls("sendMessage")
    assert [str(call["chat_id"]) for call in sent] == chats
    if target.endswith(":42"):
        assert str(sent[0]["message_thread_id"]) == "42"

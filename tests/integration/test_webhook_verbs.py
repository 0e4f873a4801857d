"""``hermesctl webhook`` against a real daemon: routes made while it runs, sampled, given a new secret, removed."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import Any

import pytest

from hermesctl.commands.webhook import SCHEMES
from tests.servers.daemon import HTTP, Daemon

pytestmark = pytest.mark.loaded(HTTP)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def working(daemon: Daemon) -> Daemon:
    """With a listener of its own, because the usual port is everybody's."""
    daemon.write_config(f"model: offline\nplatforms:\n  webhook: {{enabled: true, port: {free_port()}}}\n")
    daemon.start()
    done(daemon, "gateway", "start")
    return daemon


def done(daemon: Daemon, *words: str, stdin: str | None = None) -> str:
    result = daemon.ctl(*words, stdin=stdin)
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stdout


def run_curl_line(said: str) -> dict[str, Any]:
    """What the line that hermesctl printed is answered."""
    [line] = [line for line in said.splitlines() if " curl -sS " in line]
    answer = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True, timeout=30, check=True)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def shown(daemon: Daemon, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done(daemon, "webhook", "show", name, "--json"))
    return found


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_route_made_at_run_time_answers_its_sample_and_its_curl_line(working: Daemon, scheme: str) -> None:
    """Both are signed in the scheme of the route, and both are counted."""
    said = done(working, "webhook", "subscribe", "hook", "--scheme", scheme, "--prompt", "{text}", "--events", "push")
    assert "202 accepted" in done(working, "webhook", "test", "hook")
    answer = run_curl_line(said)
    assert answer["status"] == "accepted", answer
    assert shown(working, "hook")["accepted"] == 2
    rows = json.loads(done(working, "inbox", "list", "--all", "--json"))["rows"]
    assert [row["text"] for row in rows] == ["a test of the route by hermesctl"] * 2


def test_a_secret_goes_to_env_and_a_new_one_takes_its_place(working: Daemon) -> None:
    """config.yaml refers to it; after a rotation the old signature is refused and the new one is not."""
    said = done(working, "webhook", "subscribe", "deploy", "--secret", "-", stdin="quiet-and-long\n")
    assert "quiet-and-long" not in said
    config = (working.home / "config.yaml").read_text()
    assert "${WEBHOOK_ROUTES_DEPLOY_SECRET}" in config
    assert "quiet-and-long" not in config
    assert "quiet-and-long" in (working.home / ".env").read_text()
    done(working, "webhook", "rotate", "deploy")
    assert "not signed" in run_curl_line(said)["error"]
    assert "202 accepted" in done(working, "webhook", "test", "deploy")
    route = shown(working, "deploy")
    assert (route["accepted"], route["refused"]) == (1, {"signature": 1})
    assert "1 signature" in done(working, "webhook", "show", "deploy")


def test_a_removed_route_is_gone_with_its_secret(working: Daemon) -> None:
    """From the files and from the listener."""
    done(working, "webhook", "subscribe", "deploy")
    assert "deploy" in done(working, "webhook", "list")
    done(working, "webhook", "remove", "deploy")
    assert "deploy" not in (working.home / "config.yaml").read_text()
    assert "DEPLOY" not in (working.home / ".env").read_text()
    assert "no routes" in done(working, "webhook", "list")
    for action in ("test", "show", "rotate", "remove"):
        refused = working.ctl("webhook", action, "deploy")
        assert refused.returncode == 1
        assert "there is no webhook 'deploy'" in refused.stderr


def test_a_token_stands_in_no_line_that_is_printed(working: Daemon) -> None:
    """Neither the secret nor anything that would be good for another request is an argument of the curl line."""
    for scheme in ("bearer", "gitlab"):
        said = done(
            working, "webhook", "subscribe", scheme, "--scheme", scheme, "--secret", "-", stdin="quiet-and-long\n"
        )
        assert "quiet-and-long" not in said
        assert run_curl_line(said)["status"] == "accepted"


def test_a_secret_is_not_taken_from_the_command_line(working: Daemon) -> None:
    """It is said where it may come from; a variable is one such place."""
    refused = working.ctl("webhook", "subscribe", "deploy", "--secret", "quiet-and-long")
    assert refused.returncode == 2
    assert "command line can be read by others" in refused.stderr
    assert "quiet-and-long" not in refused.stderr
    assert "--secret -" in refused.stderr
    working.env["HOOK"] = "quiet-and-long"
    done(working, "webhook", "subscribe", "deploy", "--secret", "env:HOOK")
    assert "quiet-and-long" in (working.home / ".env").read_text()
    assert (working.home / ".env").stat().st_mode & 0o777 == 0o600
    assert "is empty" in working.ctl("webhook", "rotate", "deploy", "--secret", "env:NOT_SET").stderr


def test_counters_survive_a_restart_and_go_with_their_route(working: Daemon) -> None:
    """A route that is made again under the same name begins at nothing."""
    done(working, "webhook", "subscribe", "hook")
    done(working, "webhook", "test", "hook")
    done(working, "webhook", "test", "hook")
    assert working.stop() == 0
    working.start()
    assert shown(working, "hook")["accepted"] == 2
    done(working, "webhook", "test", "hook")
    assert shown(working, "hook")["accepted"] == 3
    assert "3" in done(working, "webhook", "list").splitlines()[1].split()
    done(working, "webhook", "remove", "hook")
    done(working, "webhook", "subscribe", "hook")
    assert shown(working, "hook").get("accepted", 0) == 0


def test_what_cannot_be_made_changes_nothing(working: Daemon) -> None:
    """A target nobody can reach, a name that is taken, a variable of another route."""
    done(working, "webhook", "subscribe", "a-b")
    before = [(working.home / name).read_bytes() for name in ("config.yaml", ".env")]
    for words, reason in {
        ("c", "--deliver", "telegram"): "no chat to go to",
        ("c", "--deliver", "nowhere"): "is not a target",
        ("a-b",): "there is a webhook 'a-b' already",
        ("a_b",): "belongs to something else",
        ("a/b",): "is not a route's name",
        ("c", "--header", "X-Own"): "for --scheme hmac",
        ("c", "--toolsets", "nope"): "there is no toolset 'nope'",
        ("c", "--skills", "pr-revue"): "there is no skill 'pr-revue'\n  → did you mean 'pr-review'?",
    }.items():
        refused = working.ctl("webhook", "subscribe", *words)
        assert refused.returncode != 0
        assert reason in refused.stderr
    assert [(working.home / name).read_bytes() for name in ("config.yaml", ".env")] == before


def test_what_a_route_could_not_do_is_said_when_it_is_made(working: Daemon) -> None:
    """Refused where no setting is missing, warned of where one is; the route is then there."""
    for words, reason in {
        ("--deliver", "webhook:http://example.com/x"): "only https is posted to",
        ("--deliver", "discord:general"): "'general' is not a channel id",
        ("--provider", "antropic"): "did you mean 'anthropic'?",
    }.items():
        refused = working.ctl("webhook", "subscribe", "hook", *words)
        assert refused.returncode != 0
        assert reason in refused.stderr
    made = working.ctl("webhook", "subscribe", "hook", "--deliver", "email:a@b.de", "--provider", "anthropic", "--json")
    assert [each["what"] for each in json.loads(made.stdout)["warnings"]] == [
        "deliver email:a@b.de: mail has no server or no sender yet",
        "there is no key for anthropic yet",
    ]
    assert made.stderr == ""


def test_without_a_daemon_the_files_are_changed_and_it_is_said(daemon: Daemon) -> None:
    """The platform is enabled with the first route."""
    daemon.write_config("model: offline\n")
    said = done(daemon, "webhook", "subscribe", "deploy")
    assert "hermesctl gateway start" in said
    assert "enabled: true" in (daemon.home / "config.yaml").read_text()


SEED = {
    "auth-watch": "PR #{pull_request.number}: {pull_request.title} by {pull_request.user.login}.",
    "alert-triage": "Alert: {alert.name} — Severity: {alert.severity}. Find the owning service.",
    "pr-review": "Review PR #{pull_request.number}: {pull_request.title}",
}


@pytest.mark.parametrize("name", SEED)
def test_prompts_of_the_announcements_examples_survive_the_files(working: Daemon, name: str) -> None:
    """Written and read again, braces and # and dashes included."""
    events = [] if name == "alert-triage" else ["--events", "pull_request"]
    done(working, "webhook", "subscribe", name, *events, "--prompt", SEED[name], "--deliver", "local")
    assert shown(working, name)["prompt"] == SEED[name]

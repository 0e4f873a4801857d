"""``hermesctl activate`` and ``managed show`` as programs, and the daemon that starts in such a home."""

from __future__ import annotations

import json
import os
import shlex
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from hermesctl.__main__ import main
from tests.servers.daemon import Daemon, RpcFailure

REBUILD = "sudo nixos-rebuild switch"
DECLARED: dict[str, Any] = {
    "managedBy": {"name": "NixOS", "rebuild": REBUILD},
    "config": {
        "value": {
            "model": {"default": "offline"},
            "agent": {"max_turns": 60},
            "mcp_servers": {"theirs": {"command": "true", "enabled": False}},
        }
    },
    "env": {"values": {"A_TOKEN": "value-in-clear"}},
    "cron": [{"name": "Nightly", "schedule": "every day at 02:00", "prompt": "fix"}],
    "webhooks": [{"name": "alerts", "prompt": "An alert: {text}", "scheme": "standard"}],
    "profiles": {
        "coder": {"config": {"value": {"model": "offline"}}, "cron": [{"name": "Own", "schedule": "1h", "prompt": "x"}]}
    },
}
DECLARED["profiles"]["coder"]["cron"][0]["schedule"] = "every 1h"


def activated(
    daemon: Daemon, manifest: dict[str, Any], *more: str, status: int = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    path = daemon.home.parent / "manifest.json"
    path.write_text(json.dumps({"schema": 1, "home": str(daemon.home), **manifest}))
    done = subprocess.run(
        [sys.executable, "-m", "hermesctl", "activate", "--manifest", str(path), *more],
        env={**os.environ, "HERMES_HOME": "/nowhere", **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def jobs(daemon: Daemon) -> set[tuple[str, str]]:
    return {(job["profile"], job["name"]) for job in daemon.call("cron.list", all=True)["jobs"]}


def test_a_dry_run_shows_everything_but_secrets(daemon: Daemon) -> None:
    """As text and as JSON; both change nothing and end with 0."""
    text = activated(daemon, DECLARED, "--dry-run").stdout
    assert "+ agent.max_turns: 60" in text
    assert text.endswith("to make; nothing was changed\n")
    found = json.loads(activated(daemon, DECLARED, "--dry-run", "--json").stdout)
    assert (found["changed"], found["dry_run"], found["notices"]) == (True, True, [])
    paths = [action["path"].removeprefix(f"{daemon.home}/") for action in found["actions"]]
    assert paths[:2] == [".env", "config.yaml"]
    assert found["actions"][0] == {
        "action": "write", "path": f"{daemon.home}/.env", "mode": "0600", "changes": ["+ A_TOKEN"],
    }  # fmt: skip
    assert "value-in-clear" not in text + json.dumps(found)
    assert list(daemon.home.iterdir()) == []
    activated(daemon, DECLARED)
    assert "value-in-clear" not in activated(daemon, {}, "--dry-run").stdout


@pytest.mark.parametrize(
    ("change", "said", "step"),
    [
        ({"schema": 2}, "schema is 2", ""),
        ({"confg": {}}, "unknown field `confg`", "did you mean config?"),
        ({"config": {"valeu": {}}}, "unknown field `valeu`", "did you mean value?"),
        ({"config": {"value": {}, "source": "/x"}}, "has a value and a source", ""),
        ({"config": {"mode": "replace", "value": {}}, "webhooks": [{"name": "a"}]}, "replaces the whole file", ""),
        ({"home": "relative"}, "home 'relative' is not an absolute path", ""),
        ({"files": [{"target": "../x", "text": ""}]}, "no path below its directory", ""),
        ({"files": [{"target": "/etc/x", "text": ""}]}, "no path below its directory", ""),
        ({"files": [{"target": "config.yaml", "text": ""}]}, "is not for files", ""),
        ({"files": [{"target": ".config.lock", "text": ""}]}, "is not for files", ""),
        ({"files": [{"target": "plugins/x/__init__.py", "text": ""}]}, "is not for files", ""),
        ({"files": [{"target": "a"}]}, "needs either text or source", ""),
        ({"files": [{"target": "a", "text": "", "mode": "4755"}]}, "cannot have the mode", ""),
        ({"files": [{"target": "a", "text": ""}, {"target": "a/b", "text": ""}]}, "has a/b below it", ""),
        ({"files": [{"target": "a", "text": ""}, {"target": "./a", "text": ""}]}, "declared twice", ""),
        ({"env": {"values": {"A-B": ""}}}, "no variable's name", ""),
        ({"env": {"values": {"A": "\0"}}}, "holds a NUL", ""),
        ({"env": {"values": {"A": "\ud800"}}}, "is no text", ""),
        ({"config": {"value": {"a": "\ud800"}}}, "is no text", ""),
        ({"config": {"value": {"agent": json.loads("[" * 100 + "]" * 100)}}}, "nested more than 64 levels", ""),
        ({"env": {"files": ["secrets"]}}, "is not an absolute path", ""),
        ({"env": {"files": ["credential:../x"]}}, "names no credential", ""),
        ({"profiles": {"Root": {}}}, "is not a profile name", ""),
        ({"profiles": {"tmp": {}}}, "is reserved", ""),
        ({"cron": [{"schedule": "1h"}]}, "an entry has no name", ""),
        ({"cron": [{"name": "a", "when": "1h"}]}, "unknown key 'when'", ""),
        ({"webhooks": [{"name": "a", "secret": "in-clear"}]}, "is a secret", ""),
        ({"managedBy": {"name": "a=b"}}, "managedBy.name cannot be", ""),
        ({"config": {"value": {"<<": {}}}}, "cannot be a key", ""),
        ({"config": {"value": {"agent": {"max_turns": 10**20}}}}, "too large a number", ""),
    ],
)  # fmt: skip
def test_a_wrong_manifest_is_refused_with_the_next_step(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str, step: str
) -> None:
    """Status 78, in one sentence that names the manifest; nothing is changed."""
    path = daemon.home.parent / "manifest.json"
    path.write_text(json.dumps({"schema": 1, "home": str(daemon.home), **change}))
    assert main(["activate", "--manifest", str(path)], routed=False) == 78
    error = capsys.readouterr().err
    assert error.startswith(f"hermesctl: {path}: ")
    assert said in error
    assert f"  → {step}" in error
    assert list(daemon.home.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": 1, "schema": 1}', '{"schema": NaN}', "[" * 100_000])
def test_a_manifest_that_is_no_object_is_refused(tmp_path: Path, text: str) -> None:
    """Whatever it is."""
    from hermesd.activation.manifest import parse
    from hermesd.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        parse(text.encode(), "m.json", home=str(tmp_path))
    assert caught.value.where == "m.json"


def test_the_daemon_applies_jobs_and_webhooks_at_its_start(daemon: Daemon) -> None:
    """Each of its profile, with a secret that is made once; and takes them away when they are not declared any more."""
    activated(daemon, DECLARED)
    daemon.start()
    assert jobs(daemon) == {("default", "Nightly"), ("coder", "Own")}
    assert daemon.call("webhook.list", profile="default")["routes"][0]["name"] == "alerts"
    env = (daemon.home / ".env").read_text()
    assert "WEBHOOK_ROUTES_ALERTS_SECRET" in env
    daemon.stop()
    assert activated(daemon, DECLARED).stdout == "nothing to do: everything is as declared\n"
    daemon.start()
    assert (daemon.home / ".env").read_text() == env
    activated(daemon, {**DECLARED, "cron": [], "webhooks": []})
    assert daemon.ctl("reload").returncode == 0
    assert jobs(daemon) == {("coder", "Own")}
    assert daemon.call("webhook.list", profile="default")["routes"] == []
    activated(daemon, {"config": DECLARED["config"]})
    assert daemon.ctl("reload").returncode == 0
    assert jobs(daemon) == set()
    assert (daemon.home / "profiles/coder").is_dir()


def test_platforms_that_are_declared_are_up_once_the_daemon_is(daemon: Daemon) -> None:
    """Nobody has to start a gateway; one that a person has stopped stays so over the next activation."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    webhook = {"enabled": True, "host": "127.0.0.1", "port": port}
    config = {"value": {"model": {"default": "offline"}, "platforms": {"webhook": webhook}}}
    declared = {**DECLARED, "config": config}
    text = activated(daemon, declared, "--dry-run").stdout
    assert f"+ write {daemon.home}/gateway_state.json\n    + desired_state: running" in text
    activated(daemon, declared)
    daemon.start()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
        assert answer.status == 200
    rows = {row["name"]: row for row in json.loads(daemon.ctl("gateway", "list", "--json").stdout)["profiles"]}
    assert (rows["default"]["desired"], list(rows["default"]["platforms"])) == ("running", ["webhook"])
    assert rows["coder"]["desired"] == "running"
    assert daemon.ctl("gateway", "stop").returncode == 0
    daemon.stop()
    assert activated(daemon, declared).stdout == "nothing to do: everything is as declared\n"
    daemon.start()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30)


def test_what_cannot_be_applied_is_shown_by_doctor_and_the_daemon_runs_on(daemon: Daemon) -> None:
    """Only the daemon knows whether a job's target exists."""
    cron = [{"name": "Lost", "schedule": "every 1h", "prompt": "x", "deliver": "telegram"}]
    activated(daemon, {**DECLARED, "cron": cron})
    daemon.start()
    found = {check["name"]: check for check in json.loads(daemon.ctl("doctor", "--json").stdout)["checks"]}
    assert found["declared routines"]["verdict"] == "problem"
    assert "Lost" in found["declared routines"]["detail"]
    activated(daemon, DECLARED)
    assert daemon.ctl("reload").returncode == 0
    assert "declared routines" not in daemon.ctl("doctor").stdout
    assert ("default", "Nightly") in jobs(daemon)


def is_refusal(status: int, error: str) -> bool:
    return status == 78 and "managed by NixOS" in error and REBUILD in error


GUARDED = [
    "config set agent.max_turns 5",
    "config unset agent.max_turns",
    "config set agent '{max_turns: 5}'",
    "config set A_TOKEN x",
    "config set platforms.webhook.routes.alerts.prompt x",
    "-p coder config set model.default x",
    "setup",
    "gateway setup",
    "gateway install",
    "gateway uninstall",
    "service install",
    "mcp add theirs --command true",
    "mcp remove theirs",
    "mcp enable theirs",
    "mcp configure theirs --include x",
    "webhook remove alerts",
    "cron edit Nightly --prompt x",
    "cron remove Nightly",
    "-p coder cron remove Own",
    "profile delete coder --yes",
    "profile rename coder other",
    "profile create coder",
]
OPEN = [
    "config set store.retain_days 5",
    "config unset store.retain_days",
    "config set MINE x",
    "-p coder config set agent.max_turns 5",
    "mcp add mine --command true",
    "mcp remove mine",
    "cron create 1h x --name Mine",
    "cron pause Nightly",
    "cron remove Mine",
    "profile create mine",
    "profile delete mine --yes",
]


def test_what_is_declared_is_refused_and_the_rest_stays_editable(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With status 78, the manager's name and the rebuild command; also where a unit sets HERMES_MANAGED."""
    activated(daemon, DECLARED)
    daemon.env["HERMES_MANAGED"] = "true"
    daemon.start()
    before = (daemon.home / "config.yaml").read_bytes()
    done = daemon.ctl("config", "set", "agent.max_turns", "5")
    assert is_refusal(done.returncode, done.stderr)
    monkeypatch.setenv("HERMES_HOME", str(daemon.home))  # the others in this process: a program each takes its time
    monkeypatch.setenv("HERMES_MANAGED", "true")
    for line in GUARDED:
        assert is_refusal(main(shlex.split(line), routed=False), capsys.readouterr().err), line
    assert (daemon.home / "config.yaml").read_bytes() == before
    for line in OPEN:
        assert main(line.split(" "), routed=False) == 0, f"{line}: {capsys.readouterr().err}"


def test_an_edit_may_change_what_is_the_users(daemon: Daemon, tmp_path: Path) -> None:
    """And no declared key: then the text is kept, and config.yaml as it was."""
    activated(daemon, DECLARED)
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nprintf 'store: {retain_days: 4}\\n' >> $1\n")
    editor.chmod(0o700)
    daemon.env["EDITOR"] = str(editor)
    assert daemon.ctl("config", "edit").returncode == 0
    assert "retain_days: 4" in (daemon.home / "config.yaml").read_text()
    editor.write_text("#!/bin/sh\nsed -i s/60/61/ $1\n")
    before = (daemon.home / "config.yaml").read_bytes()
    done = daemon.ctl("config", "edit")
    assert is_refusal(done.returncode, done.stderr)
    assert "agent.max_turns" in done.stderr
    assert (daemon.home / "config.yaml").read_bytes() == before


def test_managed_show_tells_whose_everything_is(daemon: Daemon) -> None:
    """Declared keys and variables are the manager's, others yours; no value is shown."""
    activated(daemon, DECLARED)
    with (daemon.home / "config.yaml").open("a") as file:
        file.write("store: {retain_days: 4}\n")
    done = daemon.ctl("managed", "show", "--json")
    found = json.loads(done.stdout)
    assert (found["managed"], found["name"], found["rebuild"], found["listed"]) == (True, "NixOS", REBUILD, True)
    owners = {(row["kind"], row["name"]): row["owner"] for row in found["profiles"]["default"]}
    assert owners["key", "agent.max_turns"] == "NixOS"
    assert owners["key", "store.retain_days"] == "you"
    assert owners["variable", "A_TOKEN"] == "NixOS"
    assert owners["job", "Nightly"] == "NixOS"
    assert {row["name"] for row in found["profiles"]["coder"]} == {"coder", "model.default", "Own"}
    text = daemon.ctl("managed").stdout
    assert f"run: {REBUILD}" in text
    assert "value-in-clear" not in text + done.stdout
    (daemon.home / ".managed").unlink()
    assert daemon.ctl("managed", "show").stdout == "this home is managed by nobody: all of it is yours\n"


def test_an_apply_of_somebody_else_leaves_declared_routines_alone(daemon: Daemon) -> None:
    """They were applied as part of another manifest."""
    activated(daemon, DECLARED)
    daemon.start()
    text = "version: 1\njobs:\n  Nightly: {schedule: every 2h, prompt: other}\n"
    with pytest.raises(RpcFailure) as caught:
        daemon.call("routines.plan", files=[{"name": "r.yaml", "text": text}])
    assert "applied as part of 'activation'" in caught.value.error["message"]


def test_credentials_of_a_service_become_variables(daemon: Daemon, tmp_path: Path) -> None:
    """As systemd hands them over with LoadCredential=."""
    (tmp_path / "creds").mkdir()
    (tmp_path / "creds/env-0").write_text("B_TOKEN=from-systemd\n")
    activated(daemon, {"env": {"files": ["credential:env-0"]}}, CREDENTIALS_DIRECTORY=str(tmp_path / "creds"))
    assert (daemon.home / ".env").read_text() == "B_TOKEN=from-systemd\n"
    done = activated(daemon, {"env": {"files": ["credential:env-0"]}}, status=78)
    assert "credential:env-0: there are no credentials" in done.stderr


def test_two_programs_at_once_both_end_well(daemon: Daemon) -> None:
    """One waits for the other."""
    activated(daemon, DECLARED, "--dry-run")
    path = daemon.home.parent / "manifest.json"
    argv = [sys.executable, "-m", "hermesctl", "activate", "--manifest", str(path), "--json"]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [json.loads(each.communicate(timeout=60)[0]) for each in both]
    assert [each.returncode for each in both] == [0, 0]
    assert sorted(each["changed"] for each in outputs) == [False, True]

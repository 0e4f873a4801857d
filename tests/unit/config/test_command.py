"""``hermesctl config`` as a user runs it: a process, its output and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir(mode=0o700)
    return tmp_path / "home"


@pytest.fixture
def config(home: Path) -> Run:
    def run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        usual = {name: value for name, value in os.environ.items() if not name.startswith("HERMES")}
        return subprocess.run(
            [sys.executable, "-m", "hermesctl", "config", *arguments],
            env={**usual, "HERMES_HOME": str(home), **environment},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_a_key_is_set_shown_and_unset_without_a_daemon(config: Run, home: Path) -> None:
    """The whole life of a setting."""
    assert config("set", "agent.max_turns", "7").returncode == 0
    assert config("get", "agent.max_turns").stdout == "7\n"
    assert json.loads(config("get", "agent", "--json").stdout)["max_turns"] == 7
    assert config("unset", "agent.max_turns").returncode == 0
    assert config("get", "agent.max_turns").stdout == "90\n"
    assert config("path").stdout == f"{home / 'config.yaml'}\n"
    assert config("env-path").stdout == f"{home / '.env'}\n"


def test_a_secret_is_read_from_input_and_never_shown(config: Run, home: Path) -> None:
    """`-` keeps it out of argv; it lands where the configured provider looks for it."""
    config("set", "model.provider", "anthropic")
    done = config("set", "model.api_key", "-", stdin="sk-hunter2\n")
    assert (done.returncode, "hunter2" in done.stdout + done.stderr) == (0, False)
    assert (home / ".env").read_text() == "ANTHROPIC_API_KEY=sk-hunter2\n"
    config("set", "platforms.telegram.token", "1:hunter2")
    for arguments in (("show",), ("show", "--json"), ("get", "platforms.telegram.token"), ("check",)):
        assert "hunter2" not in config(*arguments).stdout
    assert config("get", "platforms.telegram.token").stdout == "***\n"


def test_check_looks_at_every_profile(config: Run, home: Path) -> None:
    """Errors with file:line and status 78; notices alone are status 0."""
    assert config("check").returncode == 0
    (home / "config.yaml").write_text("display: {}\ntoolsets: [files]\n")
    coder = home / "profiles" / "coder"
    coder.mkdir(parents=True, mode=0o700)
    (coder / "config.yaml").write_text("agent:\n  max_turns: 0\nmodle: x\n")
    done = config("check")
    assert done.returncode == 78
    assert f"notice: {home / 'config.yaml'}:1: display has no effect here" in done.stdout
    assert f"error: {coder / 'config.yaml'}:2: agent.max_turns must be" in done.stdout
    assert f"error: {coder / 'config.yaml'}:3: unknown key 'modle'" in done.stdout
    assert config("check", "-p", "default").returncode == 0
    assert len(json.loads(config("check", "--json").stdout)["coder"]["errors"]) == 2


def test_check_knows_providers_and_toolsets(config: Run, home: Path) -> None:
    """What only the rooms that use them can tell."""
    (home / "config.yaml").write_text("toolsets: [fils]\n")
    done = config("check")
    assert (done.returncode, "files" in done.stdout) == (78, True)


@pytest.mark.parametrize("arguments", [("set", "agent.max_turns", "7"), ("unset", "agent.max_turns"), ("edit",)])
def test_a_managed_installation_refuses_changes(config: Run, home: Path, arguments: tuple[str, ...]) -> None:
    """With status 78 and what to do instead; looking is allowed."""
    (home / "config.yaml").write_text("agent: {max_turns: 3}\n")
    done = config(*arguments, HERMES_MANAGED="true", EDITOR="false")
    assert done.returncode == 78
    assert "managed by NixOS" in done.stderr
    assert "nixos-rebuild switch" in done.stderr
    assert (home / "config.yaml").read_text() == "agent: {max_turns: 3}\n"
    assert config("get", "agent.max_turns", HERMES_MANAGED="true").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("set", "agent.max_turnz", "1"), 2),
        (("set", "agent.max_turns", "0"), 78),
        (("unset", "agent.max_turns"), 1),
        (("get", "nothing"), 1),
        (("get", "agent", "-p", "nobody"), 1),
        (("get", "agent", "-p", "../x"), 2),
        (("fly",), 2),
    ],
)
def test_a_refusal_is_never_status_0(config: Run, arguments: tuple[str, ...], status: int) -> None:
    """Each with its own status and a next step."""
    done = config(*arguments)
    assert (done.returncode, "→" in done.stderr) == (status, True)


def script(path: Path, body: str) -> str:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


def test_edit_replaces_the_file_once_it_is_right(config: Run, home: Path, tmp_path: Path) -> None:
    """$VISUAL before $EDITOR, on a copy; a wrong text is kept and named, and config.yaml stays."""
    (home / "config.yaml").write_text("agent: {max_turns: 3}\n")
    good = script(tmp_path / "good", 'echo "agent: {max_turns: 4}" > "$1"')
    bad = script(tmp_path / "bad", 'printf "model: a\\nagent: {max_turns: 0}\\n" > "$1"')
    done = config("edit", VISUAL=bad, EDITOR=good)
    assert done.returncode == 78
    (kept,) = home.glob("config.edit-*.yaml")
    assert f"{kept}:2: agent.max_turns must be" in done.stderr
    assert (home / "config.yaml").read_text() == "agent: {max_turns: 3}\n"
    kept.unlink()
    assert config("edit", EDITOR=good).returncode == 0
    assert (home / "config.yaml").read_text() == "agent: {max_turns: 4}\n"
    assert config("edit", EDITOR="true").stdout == "nothing changed\n"
    assert config("edit", EDITOR="false").returncode == 78
    assert config("edit", EDITOR="/no/such/editor").returncode == 78
    assert list(home.glob("config.edit-*")) == []


def test_the_schema_is_json_schema(config: Run) -> None:
    """For editors that complete and check."""
    assert json.loads(config("schema").stdout)["$ref"] == "#/$defs/Config"

"""From options to a home: the manifest that Nix renders, activated by hermesctl, and used by a daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.nix.evaluation import NEEDS_NIX, ROOT, Nix, rendered
from tests.servers.daemon import Daemon

pytestmark = [
    NEEDS_NIX,
    pytest.mark.skipif(
        not (ROOT / "hermesctl" / "commands" / "activate.py").exists(), reason="hermesctl activate is not in this tree"
    ),
]
DECLARED: dict[str, Any] = {
    "settings": {"agent": {"max_turns": 7}, "model": {"default": "offline"}},
    "environment": {"LOG_LEVEL": "info"},
    "documents": {"USER.md": "Short answers."},
    "homeFiles": {"SOUL.md": "You are terse."},
    "mcpServers": {"files": {"command": "serve", "args": ["/srv"], "enabled": False}},
    "cron": {"digest": {"schedule": "every day at 08:00", "prompt": "What is new?"}},
    "profiles": {"research": {"description": "Reads", "settings": {"agent": {"max_turns": 3}}}},
}


MANUAL: dict[str, Any] = {
    "settings": {
        "model": {"base_url": "https://openrouter.ai/api/v1", "default": "anthropic/claude-opus-4.6"},
        "toolsets": ["all"],
        "max_turns": 100,
        "terminal": {"backend": "local", "cwd": ".", "timeout": 180},
        "compression": {"enabled": True, "threshold": 0.85, "summary_model": "google/gemini-3-flash-preview"},
        "memory": {"memory_enabled": True, "user_profile_enabled": True},
        "display": {"compact": False, "personality": "kawaii"},
        "agent": {"max_turns": 60, "verbose": False},
    },
    "documents": {"USER.md": "Short answers."},
    "mcpServers": {"filesystem": {"command": "npx", "args": ["-y", "a-server", "/data/workspace"], "enabled": False}},
    "extraArgs": ["--verbose"],
    "restart": "always",
    "restartSec": 5,
}
"""The full example of hermes-agent's manual; the server is not to be fetched here."""


class Machine:
    """A state directory, and what is declared of it."""

    def __init__(self, place: Path, nix: Nix) -> None:
        self.state = place / "state"
        self.home = self.state / ".hermes"
        self.workspace = self.state / "workspace"
        self.secrets = place / "secrets"
        self._place, self._nix = place, nix
        self.home.mkdir(parents=True, mode=0o700)
        self.workspace.mkdir()
        self.secrets.write_text("BOT_TOKEN=first\n")

    def switch(self, declared: dict[str, Any]) -> str:
        """What `nixos-rebuild switch` does to a home: render, activate; what the activation says."""
        own = {"stateDir": str(self.state), "workingDirectory": str(self.workspace)}
        files = {"environmentFiles": [str(self.secrets), "-/run/there/is/none"]}
        manifest = rendered(self._nix, declared | own | files)["activate"]
        path = self._place / "manifest.json"
        path.write_text(json.dumps(manifest))
        done = self.call("activate", "--manifest", str(path))
        assert done.returncode == 0, done.stderr
        return done.stdout

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """hermesctl, as the service's user."""
        return subprocess.run(
            [sys.executable, "-m", "hermesctl", *words],
            cwd=ROOT,
            env=os.environ | {"HERMES_HOME": str(self.home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def config(self, profile: str = "") -> dict[str, Any]:
        """config.yaml."""
        found = yaml.safe_load((self.home / profile / "config.yaml").read_text())
        assert isinstance(found, dict)
        return found

    def stamps(self) -> dict[str, int]:
        """When each file was written."""
        return {str(path): path.stat().st_mtime_ns for path in self.state.rglob("*") if path.is_file()}


@pytest.fixture
def machine(tmp_path: Path, nix: Nix) -> Machine:
    """One with nothing in its home."""
    return Machine(tmp_path, nix)


def test_what_is_declared_is_what_is_there(machine: Machine) -> None:
    """Settings, servers, secrets, documents, a profile; and a second switch writes nothing."""
    machine.switch(DECLARED)
    config = machine.config()
    assert config["agent"] == {"max_turns": 7}
    assert config["mcp_servers"] == {"files": {"command": "serve", "args": ["/srv"], "enabled": False}}
    assert machine.config("profiles/research")["agent"] == {"max_turns": 3}
    assert (machine.workspace / "USER.md").read_text() == "Short answers."
    assert (machine.home / "SOUL.md").read_text() == "You are terse."
    env = machine.home / ".env"
    assert "BOT_TOKEN=first" in env.read_text()
    assert env.stat().st_mode & 0o777 == 0o600
    before = machine.stamps()
    machine.switch(DECLARED)
    assert machine.stamps() == before


def test_keys_of_the_user_stay_and_what_is_no_longer_declared_goes(machine: Machine) -> None:
    """With the secret rotated in between, and a server that becomes another kind."""
    machine.switch(DECLARED)
    assert machine.call("config", "set", "timezone", "UTC").returncode == 0
    refused = machine.call("config", "set", "agent.max_turns", "3")
    assert refused.returncode == 78
    assert "sudo nixos-rebuild switch" in refused.stderr
    machine.secrets.write_text("BOT_TOKEN=second\n")
    machine.switch(
        {"settings": {"model": {"default": "offline"}}, "mcpServers": {"files": {"url": "https://mcp.example.com/mcp"}}}
    )
    config = machine.config()
    assert config["timezone"] == "UTC"
    assert "agent" not in config
    assert config["mcp_servers"] == {"files": {"url": "https://mcp.example.com/mcp", "enabled": True}}
    assert "BOT_TOKEN=second" in (machine.home / ".env").read_text()
    assert "LOG_LEVEL" not in (machine.home / ".env").read_text()
    assert not (machine.workspace / "USER.md").exists()
    assert machine.call("config", "check").returncode == 0


@pytest.mark.skipif(
    not (ROOT / "hermesd" / "activation" / "plugins.py").exists(), reason="plugins are not in this tree"
)
def test_plugins_and_watches_are_there_while_they_are_declared(machine: Machine, tmp_path: Path) -> None:
    """A directory is linked, and a watch left to the daemon; both go with their declaration."""
    plugin = tmp_path / "mine"
    plugin.mkdir()
    (plugin / "plugin.yaml").write_text("name: mine\nversion: '1'\ndescription: x\n")
    (plugin / "__init__.py").write_text("def register(ctx): ...\n")
    watches = {"notes": {"files": ["/srv/notes/*.md"], "prompt": "What changed?"}}
    machine.switch({"extraPlugins": [str(plugin)], "watches": watches})
    link = machine.home / "plugins" / "mine"
    assert link.is_symlink()
    assert link.readlink() == plugin
    routines = machine.home / ".activation" / "routines.yaml"
    assert "notes" in routines.read_text()
    machine.switch({})
    assert not link.is_symlink()
    assert not routines.exists() or "notes" not in routines.read_text()


def test_the_full_example_of_the_manual_starts_with_its_own_arguments(machine: Machine) -> None:
    """Keys whose part is not there yet are accepted with a notice, and nothing has to be taken out first."""
    machine.secrets.write_text("BOT_TOKEN=first\nOPENROUTER_API_KEY=sk-or-x\n")
    machine.switch(MANUAL)
    checked = machine.call("config", "check")
    assert checked.returncode == 0, checked.stdout
    daemon = Daemon(machine.home)
    daemon.start(*MANUAL["extraArgs"])
    try:
        assert '"level":"debug"' in (machine.home / "logs" / "hermesd.log").read_text()
    finally:
        daemon.stop()

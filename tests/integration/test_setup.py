"""``hermesctl setup`` at a real terminal."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from hermesd.config.load import load_settings
from hermesd.home import Home
from tests.servers.daemon import Daemon
from tests.servers.terminal import at_terminal

CTL = [sys.executable, "-m", "hermesctl"]


def environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home.parent), "HERMES_HOME": str(home), "TERM": "xterm"}


def test_model_and_platforms_are_asked_for_and_secrets_go_to_env(tmp_path: Path) -> None:
    """A wrong answer is asked again; what is typed unseen is not shown; the webhook's secret is made."""
    home = tmp_path / "new"
    with at_terminal([*CTL, "setup"], environment(home)) as terminal:
        terminal.expect("Provider (auto")
        terminal.type("anthropic\n")
        terminal.expect("Model")
        terminal.type("claude-x\n")
        terminal.expect("API key")
        terminal.type("geheim-1\n")
        terminal.expect("Which, with commas (Enter: none)? ")
        terminal.type("webhook pigeon\n")
        terminal.expect("there is no 'pigeon'")
        terminal.type("webhook, telegram\n")
        terminal.expect("Address to listen on [127.0.0.1]: ")
        terminal.type("\n")
        terminal.expect("Port [8644]: ")
        terminal.type("many\n")
        terminal.expect("must be a whole number")
        terminal.expect("Port [8644]: ")
        terminal.type("8700\n")
        terminal.expect("webhook is enabled")
        terminal.expect("Bot token")
        terminal.type("12:geheim-2\n")
        terminal.expect("Who is answered")
        terminal.type("@ada, 7\n")
        terminal.expect("Chat that")
        terminal.type("\n")
        terminal.expect("telegram is enabled")
        assert terminal.wait() == 0
        assert "geheim" not in terminal.seen
    profile = Home(home).profile("default")
    config = load_settings(profile).config
    assert (config.model.provider, config.model.default) == ("anthropic", "claude-x")
    assert (config.platforms.webhook.enabled, config.platforms.webhook.port) == (True, 8700)
    assert len(config.platforms.webhook.secret) == 64
    assert config.platforms.telegram.allowed_users == ["@ada", 7]
    assert "geheim" not in profile.config_path.read_text()
    assert "ANTHROPIC_API_KEY=geheim-1" in profile.env_path.read_text()
    assert stat.S_IMODE(profile.env_path.stat().st_mode) == 0o600


def test_enter_keeps_what_is_there_and_ctrl_c_keeps_what_was_answered(tmp_path: Path) -> None:
    """A secret is said to be kept, a second webhook setup makes no second one."""
    home = tmp_path / "new"
    for _ in range(2):
        with at_terminal([*CTL, "gateway", "setup", "webhook"], environment(home)) as terminal:
            terminal.expect("Address")
            terminal.type("\n")
            terminal.expect("Port")
            terminal.type("\n")
            terminal.expect("webhook is enabled")
            assert terminal.wait() == 0
    env = (home / ".env").read_text()
    assert env.count("WEBHOOK_SECRET=") == 1
    with at_terminal([*CTL, "setup", "slack"], environment(home)) as terminal:
        terminal.expect("Bot token (xoxb-…): ")
        terminal.type("xoxb-geheim\n")
        terminal.expect("Channel that")
        terminal.interrupt()
        assert terminal.wait() == 130
        assert "what was answered is kept" in terminal.seen
    assert "SLACK_BOT_TOKEN=xoxb-geheim" in (home / ".env").read_text()
    with at_terminal([*CTL, "setup", "slack"], environment(home)) as terminal:
        terminal.expect("Bot token (xoxb-…) [kept]: ")
        terminal.type("\x04")


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("setup",), 2, "config set KEY VALUE"),
        (("gateway", "setup", "webhook"), 2, "no terminal"),
        (("setup", "pigeon"), 2, "one of model, telegram"),
    ],
)
def test_without_a_terminal_it_says_what_to_do_instead(
    tmp_path: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    """Nothing is asked, nothing is made."""
    daemon = Daemon(tmp_path / "new")
    done = daemon.ctl(*words)
    assert done.returncode == status
    assert said in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_managed_home_is_set_up_by_its_manager(tmp_path: Path) -> None:
    """Exit 78 and the manager's name."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / ".managed").write_text("nixos\n")
    done = Daemon(home).ctl("setup")
    assert done.returncode == 78
    assert "NixOS" in done.stderr

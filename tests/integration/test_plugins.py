"""Plugins in a real hermesd: found, enabled, called by a turn, and contained."""

from __future__ import annotations

from tests.servers.daemon import Daemon
from tests.servers.plugin_home import enabling, write_plugin


def ask(daemon: Daemon, text: str) -> str:
    """One turn of the offline model; what it answers."""
    return str(daemon.call("chat.send", text=text)["text"])


def test_a_turn_calls_the_tool_of_an_enabled_plugin(daemon: Daemon) -> None:
    """A directory with plugin.yaml and register(ctx), named in config.yaml, is a tool of the model."""
    write_plugin(daemon.home, "greeter")
    daemon.write_config(enabling("greeter"))
    daemon.start()
    assert "hello Ada" in ask(daemon, 'call greet {"who": "Ada"}')

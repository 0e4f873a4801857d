"""Commands that messages tell of, for a profile that has a daemon of its own."""

from __future__ import annotations

import json

import pytest

from tests.servers.daemon import MCP, Daemon

pytestmark = pytest.mark.loaded(MCP)


def test_a_daemon_of_its_own_tells_commands_for_its_profile(daemon: Daemon) -> None:
    """To itself it is the default one; whoever typed that would change another profile. What it tells is found."""
    around = Daemon(daemon.home)
    around.write_config("")
    (around.home / "state.db").touch()
    daemon.home = around.home / "profiles" / "coder"
    daemon.write_config("mcp_servers: {s: {command: no-such-program, enabled: false}}\n")
    daemon.start()
    for caller, words in ((around, ["-p", "coder"]), (daemon, []), (daemon, ["-p", "coder"])):
        assert "\n  → hermesctl -p coder mcp enable s" in caller.ctl("mcp", "test", "s", *words).stdout
        told = caller.ctl("mcp", "restart", "s", *words).stderr
        assert "→ hermesctl -p coder mcp enable s" in told
        told = caller.ctl("mcp", "add", "s", "--command", "x", *words).stderr
        assert "`hermesctl -p coder mcp configure s`" in told
        told = caller.ctl("mcp", "login", "s", *words).stderr
        assert "`hermesctl -p coder mcp test s`" in told
    answer = {"name": "s", "address": "http://127.0.0.1/"}
    told = daemon.ctl("rpc", "call", "mcp.login_answer", json.dumps(answer)).stderr
    assert "`hermesctl -p coder mcp login s`" in told
    told = daemon.ctl("rpc", "call", "mcp.definition", json.dumps({"name": "s", "tool": "x"})).stderr
    assert "hermesctl -p coder mcp tools s" in told
    assert daemon.call("mcp.show", name="s")["told_as"] == "coder"

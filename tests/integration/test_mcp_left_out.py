"""What of a server's tools is not offered, and how often that is said, through a real hermesd."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.daemon import MCP, Daemon

pytestmark = pytest.mark.loaded(MCP)

ROOT = str(Path(__file__).parents[2])
CODE = f"import sys; sys.path.insert(0, {ROOT!r}); from tests.servers.mcp_listed import main; main()"
GOOD = {"name": "good", "description": "does it", "inputSchema": {"type": "object"}}
BAD = {"name": "bad\x1b[31m", "inputSchema": {"type": "array"}}


def configured(daemon: Daemon, tmp_path: Path, lists: object, **more: Any) -> Path:
    """A home with one server ``s``; the file with its lists."""
    path = tmp_path / "lists.json"
    path.write_text(json.dumps(lists))
    arguments = ["-c", CODE, str(path), str(tmp_path / "lists.log")]
    daemon.write_config(json.dumps({"mcp_servers": {"s": {"command": sys.executable, "args": arguments, **more}}}))
    daemon.start()
    return path


def said(daemon: Daemon, what: str) -> int:
    """How many lines of the daemon's log have it."""
    return sum(what in line for line in daemon.ctl("logs", "-n", "500").stdout.splitlines())


def test_one_wrong_tool_costs_the_others_nothing(daemon: Daemon, tmp_path: Path) -> None:
    """It is named with the reason, cleaned, in ``mcp show`` and once in the log; a second connection says no more."""
    path = configured(daemon, tmp_path, [GOOD, BAD, "x", {**GOOD, "description": "again"}])
    assert daemon.call("mcp.test", name="s")["ok"]
    assert daemon.ctl("mcp", "call", "s", "good").stdout == "good\n"
    shown = daemon.ctl("mcp", "show", "s").stdout
    assert "the tool 'bad[31m' is left out: inputSchema.type: Input should be 'object'" in shown
    assert "the tool no. 3 is left out" in shown
    assert "the tool 'good' is left out: another one before it has this name" in shown
    assert [row["tool"] for row in daemon.call("mcp.tools")["tools"]] == ["good"]
    daemon.ctl("mcp", "restart", "s")
    assert daemon.call("mcp.test", name="s")["ok"]
    assert said(daemon, "is left out") == 1
    path.write_text(json.dumps([GOOD]))
    daemon.ctl("mcp", "restart", "s")
    assert daemon.call("mcp.test", name="s")["ok"]
    assert "left out" not in daemon.ctl("mcp", "show", "s").stdout


def test_what_a_lazy_server_had_wrong_is_known_before_it_is_started_again(daemon: Daemon, tmp_path: Path) -> None:
    """With its list that is kept."""
    configured(daemon, tmp_path, [GOOD, BAD], lifecycle="lazy")
    assert daemon.call("mcp.test", name="s")["ok"]
    shown = daemon.ctl("mcp", "show", "s").stdout
    assert "is left out" in shown
    daemon.stop()
    daemon.start()
    assert daemon.call("mcp.list")["servers"][0]["state"] == "idle"
    assert "is left out" in daemon.ctl("mcp", "show", "s").stdout


def test_a_wrong_resource_or_prompt_is_left_out_of_what_the_model_reads(daemon: Daemon, tmp_path: Path) -> None:
    """And named there."""
    lists = {
        "tools": [GOOD],
        "resources": [{"name": "r", "uri": "file:///r"}, {"name": "no address"}],
        "prompts": [{"name": "p"}, {"name": 7}],
    }
    configured(daemon, tmp_path, lists)
    assert daemon.call("mcp.test", name="s")["ok"]
    found = daemon.call("mcp.call", name="s", tool="list_resources")["text"]
    assert '"uri":"file:///r"' in found
    assert "[the resource 'no address' is left out: uri: Field required]" in found
    found = daemon.call("mcp.call", name="s", tool="list_prompts")["text"]
    assert '{"name":"p"}' in found
    assert "[the prompt no. 2 is left out: name: Input should be a valid string]" in found


@pytest.mark.parametrize("lifecycle", ["lazy", "eager"])
def test_a_tool_that_stays_held_back_is_an_event_once(daemon: Daemon, tmp_path: Path, lifecycle: str) -> None:
    """Not once for every start of the daemon; another change of it is another event."""
    path = configured(daemon, tmp_path, [GOOD], lifecycle=lifecycle)

    def restarted_with(description: str) -> int:
        """How many events there are after its tool has been listed with that."""
        path.write_text(json.dumps([{**GOOD, "description": description}]))
        for _ in range(2):
            daemon.stop()
            daemon.start()
            assert daemon.call("mcp.test", name="s")["ok"]
        assert daemon.call("mcp.list")["servers"][0]["quarantined"] == 1
        return sum(event["kind"] == "mcp.quarantined" for event in daemon.call("events.list")["events"])

    assert daemon.call("mcp.test", name="s")["ok"]
    assert restarted_with("does something else") == 1
    assert restarted_with("does harm") == 2

"""The disk refuses while a server's tools change: nothing is taken unseen, nobody waits for ever, it recovers."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.faults.blackbox import Refusals, build_refusals, log_of, restarted
from tests.servers.daemon import MCP, Daemon

pytestmark = pytest.mark.loaded(MCP)

ROOT = Path(__file__).parents[2]
CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.servers.mcp_listed import main; main()"


def write(place: Path, *names: str) -> None:
    tools = [{"name": name, "description": "x", "inputSchema": {"type": "object"}} for name in names]
    (place / "tools.json").write_text(json.dumps(tools))


def offered(daemon: Daemon) -> list[str]:
    return [row["tool"] for row in daemon.call("mcp.tools")["tools"]]


def test_new_tools_are_taken_once_the_disk_takes_their_pins(daemon: Daemon, tmp_path: Path) -> None:
    """For longer than a service may fail, too: the catalog goes on by itself, and no restart is counted."""
    refusals = Refusals(build_refusals(tmp_path), tmp_path / "refusals")
    write(tmp_path, "announce")
    server: dict[str, Any] = {"command": sys.executable}
    server["args"] = ["-c", CODE, str(tmp_path / "tools.json"), str(tmp_path / "log")]
    daemon.write_config(json.dumps({"mcp_servers": {"s": server}}))
    daemon.start(**refusals.env)
    assert daemon.call("mcp.test", name="s")["ok"]
    with log_of(daemon) as log, daemon.connect() as wire:
        refusals.writes(errno.ENOSPC)
        write(tmp_path, "announce", "new")
        assert daemon.call("mcp.call", name="s", tool="announce")["text"] == "announce"
        log.until("the store refused what is new of MCP servers")
        told = daemon.call("mcp.call", name="s", tool="announce")
        assert told["is_error"]
        assert "could not be compared with what was approved" in told["text"]
        assert offered(daemon) == ["announce"]
        refusals.writes(0)
        wire.send("events.watch")
        while wire.until("events.event")["event"]["kind"] != "mcp.tools" or "new" not in offered(daemon):
            pass
    assert restarted(daemon) == []
    assert daemon.call("mcp.call", name="s", tool="new")["text"] == "new"

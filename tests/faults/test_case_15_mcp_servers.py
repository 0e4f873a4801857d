"""Case 15: an MCP server that does everything wrong is contained and ended; the one beside it does not notice."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.daemon import MCP, Daemon, running
from tests.servers.ending import ended

pytestmark = pytest.mark.loaded(MCP)

SERVERS = Path(__file__).parents[1] / "servers"
CONFIG = f"""
mcp_servers:
  good: {{command: {sys.executable}, args: [-I, -S, {SERVERS}/mcp_minimal.py]}}
  rude: {{command: {sys.executable}, args: [-I, -S, {SERVERS}/mcp_rude.py], env: {{PYTHONUTF8: "1"}}}}
"""
ROOM_MB = 120
"""Above the cap of a line: what the daemon needs for itself, the MCP library included."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One daemon for all misdeeds, one after the other."""
    with running(tmp_path_factory.mktemp("rude") / "home", CONFIG) as found:
        for name in ("good", "rude"):
            assert found.call("mcp.test", name=name)["ok"]
        yield found


@pytest.fixture(autouse=True)
def _the_other_server_notices_nothing(daemon: Daemon) -> Iterator[None]:
    before = daemon.call("mcp.show", name="good")["pid"]
    yield
    assert daemon.call("mcp.show", name="good")["pid"] == before
    assert rude(daemon, "echo", text="still there")["text"] == "still there"


def rude(daemon: Daemon, tool: str, **arguments: Any) -> dict[str, Any]:
    found: dict[str, Any] = daemon.call("mcp.call", name="rude", tool=tool, arguments=arguments)
    return found


def pid(daemon: Daemon) -> int:
    return int(daemon.call("mcp.show", name="rude")["pid"])


def test_wrong_and_repeated_ids_do_not_answer_anybody(daemon: Daemon) -> None:
    """The right answer is taken once, the others belong to no call."""
    before = pid(daemon)
    assert rude(daemon, "ids")["text"] == "right"
    assert rude(daemon, "echo", text="next")["text"] == "next"
    assert pid(daemon) == before


def test_an_answer_to_another_request_leaves_the_call_to_its_timeout(daemon: Daemon) -> None:
    """The caller is told that the call may have had its effect."""
    daemon.write_config(CONFIG.replace("env: {PYTHONUTF8", "timeout: 0.5, env: {PYTHONUTF8"))
    daemon.call("daemon.reload")
    told = rude(daemon, "silent")
    daemon.write_config(CONFIG)
    daemon.call("daemon.reload")
    assert told["is_error"]
    assert "may nevertheless have had its effect" in told["text"]


def test_nonsense_from_the_server_is_passed_over(daemon: Daemon) -> None:
    """Requests for unknown methods, notifications without sense, and JSON that is no message."""
    before = pid(daemon)
    assert not rude(daemon, "requests", text="well").get("is_error")
    assert rude(daemon, "echo", text="next")["text"] == "next"
    assert pid(daemon) == before


def test_a_line_of_100_mb_ends_this_server_and_is_not_kept(daemon: Daemon) -> None:
    """The cap is 64 MB; the next call finds a new process."""
    before = pid(daemon)
    told = rude(daemon, "line", bytes=100 * 2**20)
    assert told["is_error"]
    assert "the MCP server 'rude' is not there: the server sent a line of more than 67108864 bytes" in told["text"]
    assert rude(daemon, "echo", text="again")["text"] == "again"
    assert pid(daemon) != before
    assert ended([before], 5)
    peak_kb = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{daemon.pid}/status").read_text(), re.MULTILINE)
    assert peak_kb
    assert int(peak_kb[1]) < (64 + ROOM_MB) * 1024


def test_a_flood_on_stderr_is_kept_short_and_without_controls(daemon: Daemon) -> None:
    """Of 3 MB the last lines are kept and few are logged."""
    assert not rude(daemon, "flood", bytes=3 * 2**20).get("is_error")
    lines = daemon.call("mcp.show", name="rude")["stderr"]
    assert 0 < len(lines) <= 100
    assert all(len(line) <= 1000 and line.isprintable() for line in lines)
    logged = [line for line in daemon.ctl("logs").stdout.splitlines() if "flood flood" in line]
    assert 0 < len(logged) <= 10


def test_a_call_under_way_is_told_of_the_death(daemon: Daemon) -> None:
    """And the server is back for the next one."""
    told = rude(daemon, "die")
    assert told["is_error"]
    assert "was killed by SIGKILL" in told["text"]


def test_what_a_double_fork_left_is_ended_with_the_server(daemon: Daemon) -> None:
    """Also when both ignore SIGTERM and the server ignores the end of its input; within 5 s."""
    server, orphan = pid(daemon), int(rude(daemon, "fork")["text"])
    assert not ended([orphan], 0.05)
    assert daemon.ctl("mcp", "disable", "rude").returncode == 0
    assert ended([server], 5)
    assert ended([orphan], 5)
    assert daemon.ctl("mcp", "enable", "rude").returncode == 0


def test_what_a_double_fork_left_is_ended_when_the_server_dies(daemon: Daemon) -> None:
    """Nobody asked for its end, so nobody could clean up before."""
    server, orphan = pid(daemon), int(rude(daemon, "fork")["text"])
    os.kill(server, signal.SIGKILL)
    assert ended([orphan], 5)

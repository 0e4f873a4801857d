"""Servers that people really use, added from the shell to one hermesd and called through it.

npm: filesystem, memory, everything; PyPI: time, git, fetch. ``HERMESD_SOAK=1`` adds two that drive browsers.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.servers import mcp_real
from tests.servers.daemon import MCP, Daemon, running

pytestmark = pytest.mark.loaded(MCP)

CONVERT = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
PAGE = "<html><body><article><h1>Owls</h1><p>An owl turns its head by 270 degrees.</p></article></body></html>"


@dataclass
class Desk:
    """A daemon with all servers, and the things they work on."""

    daemon: Daemon
    files: Path
    repository: Path

    def call(self, server: str, tool: str, **arguments: Any) -> str:
        """A call that succeeds; its text."""
        found = self.daemon.call("mcp.call", name=server, tool=tool, arguments=arguments)
        assert not found.get("is_error"), found
        return str(found["text"])

    def shown(self, server: str) -> dict[str, Any]:
        return dict(self.daemon.call("mcp.show", name=server))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Each server is added as a person would, while the daemon runs."""
    place = tmp_path_factory.mktemp("desk")
    files, repository = place / "files", place / "repository"
    files.mkdir()
    _commit(repository, "Count the owls")
    commands = {
        "filesystem": mcp_real.filesystem(files),
        "memory": mcp_real.memory(),
        "everything": mcp_real.everything(),
        "time": mcp_real.clock(),
        "git": mcp_real.git(repository),
        "fetch": mcp_real.fetch(),
    }
    config = json.dumps({"policy": {"tools": {"mcp__time__convert_time": "allow"}}})
    with running(place / "home", config) as daemon:
        for name, (program, *arguments) in commands.items():
            env = ["--env", f"MEMORY_FILE_PATH={place / 'memory.jsonl'}"] if name == "memory" else []
            added = daemon.ctl("mcp", "add", name, "--command", program, *env, "--args", *arguments)
            assert added.returncode == 0, added.stderr
        for name in commands:
            assert daemon.call("mcp.test", name=name)["ok"]
        yield Desk(daemon, files, repository)


def _commit(repository: Path, message: str) -> None:
    repository.mkdir()
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for words in (["init", "-q"], [*who, "commit", "-q", "--allow-empty", "-m", message]):
        subprocess.run(["git", "-C", str(repository), *words], check=True)


def test_all_are_listed_ready_with_their_tools(desk: Desk) -> None:
    """`hermesctl mcp` has a line for each, and says nothing of an error."""
    rows = {row["name"]: row for row in desk.daemon.call("mcp.list")["servers"]}
    assert list(rows) == ["filesystem", "memory", "everything", "time", "git", "fetch"]
    assert {row["state"] for row in rows.values()} == {"ready"}
    assert all(row["tools"] >= 1 and row["era"] and not row.get("last_error") for row in rows.values())
    listed = desk.daemon.ctl("mcp").stdout
    assert all(f"\n{name} " in listed for name in rows)


def test_filesystem_reads_and_writes_in_its_directory_and_refuses_outside(desk: Desk) -> None:
    """What the server refuses is an error of the tool, told in its own words."""
    path = desk.files / "owls.txt"
    desk.call("filesystem", "write_file", path=str(path), content="three owls\n")
    assert path.read_text() == "three owls\n"
    assert "three owls" in desk.call("filesystem", "read_text_file", path=str(path))
    outside = json.dumps({"path": str(desk.daemon.home / "config.yaml")})
    refused = desk.daemon.ctl("mcp", "call", "filesystem", "read_text_file", outside)
    assert refused.returncode == 1
    assert "outside allowed directories" in refused.stdout


def test_git_tells_the_log_of_a_repository(desk: Desk) -> None:
    """The message of the commit that the test made."""
    assert "Count the owls" in desk.call("git", "git_log", repo_path=str(desk.repository))


def test_fetch_reads_a_page_as_text(desk: Desk, tmp_path: Path) -> None:
    """Served on loopback; the tags are gone."""
    (tmp_path / "owls.html").write_text(PAGE)

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as listening:
        thread = Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            text = desk.call("fetch", "fetch", url=f"http://127.0.0.1:{listening.server_address[1]}/owls.html")
        finally:
            listening.shutdown()
            thread.join()
    assert "turns its head by 270 degrees" in text
    assert "<p>" not in text


def test_memory_keeps_what_it_was_told_over_a_restart_by_hand(desk: Desk) -> None:
    """Another process reads what the first one wrote."""
    entity = {"name": "Minerva", "entityType": "owl", "observations": ["sleeps by day"]}
    desk.call("memory", "create_entities", entities=[entity])
    before = desk.shown("memory")["pid"]
    restarted = desk.daemon.ctl("mcp", "restart", "memory")
    assert restarted.returncode == 0, restarted.stderr
    assert "sleeps by day" in desk.call("memory", "search_nodes", query="Minerva")
    assert desk.shown("memory")["pid"] != before


def test_everything_has_tools_resources_and_prompts(desk: Desk) -> None:
    """The kinds of answers it knows, through the tools that stand for them."""
    assert desk.call("everything", "echo", message="Grüße") == "Echo: Grüße"
    assert "12" in desk.call("everything", "get-sum", a=5, b=7)
    assert "image/png" in desk.call("everything", "get-tiny-image")
    structured = json.loads(desk.call("everything", "get-structured-content", location="Chicago").splitlines()[0])
    assert {"temperature", "conditions", "humidity"} <= structured.keys()
    resources = [json.loads(line) for line in desk.call("everything", "list_resources").splitlines()]
    assert len(resources) >= 3
    assert desk.call("everything", "read_resource", uri=resources[0]["uri"])
    prompts = [json.loads(line)["name"] for line in desk.call("everything", "list_prompts").splitlines()]
    assert "simple-prompt" in prompts
    assert "user: " in desk.call("everything", "get_prompt", name="simple-prompt")


def test_everything_may_report_progress_and_answer_late(desk: Desk) -> None:
    """Its notifications in between disturb neither this call nor another one beside it."""
    with desk.daemon.connect() as slow:
        arguments = {"duration": 1, "steps": 5}
        request = slow.send("mcp.call", name="everything", tool="trigger-long-running-operation", arguments=arguments)
        assert desk.call("everything", "echo", message="meanwhile") == "Echo: meanwhile"
        assert "Steps: 5" in slow.result(request)["text"]


def test_the_burst_of_list_changed_after_its_start_is_one_event_or_two(desk: Desk) -> None:
    """server-everything says list_changed five times within 0.6 s of its start."""
    events = desk.daemon.call("events.list", limit=500)["events"]
    told = [event for event in events if (event["kind"], event["subject"]) == ("mcp.tools", "mcp/everything")]
    assert 1 <= len(told) <= 2


def test_a_server_killed_in_mid_call_fails_that_call_and_no_other(desk: Desk) -> None:
    """The caller learns why at once, the next call finds a new process, and nobody else has noticed."""
    others = {name: desk.shown(name)["pid"] for name in ("filesystem", "git")}
    victim = desk.shown("everything")["pid"]
    with desk.daemon.connect() as wire:
        arguments = {"duration": 60, "steps": 2}
        request = wire.send("mcp.call", name="everything", tool="trigger-long-running-operation", arguments=arguments)
        assert desk.call("everything", "echo", message="it is there") == "Echo: it is there"
        os.kill(victim, signal.SIGKILL)
        told = wire.result(request)
    assert told["is_error"]
    assert "was killed by SIGKILL" in told["text"]
    assert desk.call("everything", "echo", message="again") == "Echo: again"
    shown = desk.shown("everything")
    assert shown["pid"] != victim
    assert shown["server"]["restarts"] >= 1
    assert {name: desk.shown(name)["pid"] for name in others} == others


def test_the_test_verb_says_that_a_server_works(desk: Desk) -> None:
    """With the number of its tools and the time it took."""
    tested = desk.daemon.ctl("mcp", "test", "time")
    assert tested.returncode == 0
    assert tested.stdout.startswith("time: ready, 6 tools, ")


def test_a_turn_calls_a_server_without_any_model(desk: Desk) -> None:
    """The offline provider calls the tool that it is told to call; the policy allows this one."""
    answer = desk.daemon.call("chat.send", text=f"call mcp__time__convert_time {json.dumps(CONVERT)}")
    assert answer["state"] == "done"
    assert "T21:00:00+09:00" in answer["text"]


@pytest.mark.skipif(not os.environ.get("HERMESD_SOAK"), reason="two more packages; `make mcp-soak` runs it")
@pytest.mark.parametrize("package", ["@playwright/mcp", "chrome-devtools-mcp"])
def test_a_browsers_server_lists_its_tools_where_there_is_no_browser(desk: Desk, package: str) -> None:
    """It starts one only when a tool is called."""
    program = mcp_real.browser(package)[0]
    name = package.strip("@").replace("/", "-")
    assert desk.daemon.ctl("mcp", "add", name, "--command", program).returncode == 0
    assert desk.daemon.call("mcp.test", name=name)["tools"] > 10
    assert desk.daemon.ctl("mcp", "remove", name).returncode == 0

"""Background processes: started, watched, awaited, ended, and never more than there is room for."""

from __future__ import annotations

import os
import re

import pytest
import trio

from hermesd.errors import ConflictError
from hermesd.home import Home
from hermesd.tools.base import ToolContext, ToolResult
from hermesd.tools.environment import child_environment
from hermesd.tools.terminal.command import Terminal
from hermesd.tools.terminal.control import Process
from hermesd.tools.terminal.leftovers import tag_prefix
from hermesd.tools.terminal.local import shell_argv
from hermesd.tools.terminal.processes import BackgroundProcess, ProcessTable

from .test_terminal import ends, told_through


async def process(context: ToolContext, action: str, **more: object) -> ToolResult:
    return await Process().run({"action": action, **more}, context)


async def start(context: ToolContext, command: str) -> str:
    """Start in the background and return the id."""
    result = await Terminal().run({"command": command, "background": True}, context)
    assert not result.is_error, result.text
    return result.text.split()[5]


def spawn(table: ProcessTable, home: Home, command: str) -> BackgroundProcess:
    argv = shell_argv(command)
    return table.start(argv, command=command, session_id="s", cwd=home.root, env=child_environment(os.environ))


async def test_a_process_runs_on_after_its_call(context: ToolContext) -> None:
    """Its output, its end and its status are there for later calls."""
    name = await start(context, "echo begun; read -t 0.05 < <(sleep 9); echo done; exit 3")
    result = await process(context, "wait", id=name, timeout=60)
    assert result.untrusted
    assert re.fullmatch(r"begun\ndone\n\n\[exit status 3 after \d+ s\]", result.text)
    assert f"{name}  exit status 3" in (await process(context, "list")).text


async def test_waiting_ends_in_time(context: ToolContext) -> None:
    """And says that it is still running."""
    name = await start(context, "sleep 60; true")
    assert re.fullmatch(r"\[running for \d+ s\]", (await process(context, "wait", id=name, timeout=0.05)).text)


async def test_a_killed_process_is_gone_with_all_it_started(context: ToolContext) -> None:
    """Twice is as once."""
    os.mkfifo(context.workspace / "ready")
    name = await start(context, "setsid sleep 60 & echo $! > ready; exec sleep 60")
    item = context.state.processes.get(name)
    assert item
    child = int(await told_through(context.workspace / "ready"))
    for _ in range(2):
        assert "killed by SIGTERM" in (await process(context, "kill", id=name)).text
    assert ends(item.pid)
    assert ends(child)


async def test_only_the_last_output_is_kept(context: ToolContext) -> None:
    """A server that logs for weeks takes 256 kB."""
    name = await start(context, "yes | head -c 3000000; echo last")
    await process(context, "wait", id=name, timeout=60)
    text = (await process(context, "output", id=name, bytes=10)).text
    assert text.startswith("[2999995 bytes before this are left out]\n")
    assert "\nlast\n" in text


async def test_an_unknown_id_is_said(context: ToolContext) -> None:
    """With no list of everything."""
    assert await process(context, "output", id="nope") == ToolResult(
        "there is no background process 'nope'", is_error=True
    )
    assert (await process(context, "list")).text == "no background processes"


async def test_the_table_is_bounded(context: ToolContext) -> None:
    """A full one refuses; an ended process makes room."""
    names = [await start(context, "sleep 60; true") for _ in range(4)]
    result = await Terminal().run({"command": "sleep 60", "background": True}, context)
    assert result == ToolResult("4 background processes are running; kill one of them first", is_error=True)
    await process(context, "kill", id=names[1])
    await start(context, "sleep 60; true")
    assert context.state.processes.get(names[1]) is None


async def test_closing_the_table_ends_everything(home: Home) -> None:
    """Side by side: the stubborn ones, which get two seconds each, would take longer one after the other."""
    table = ProcessTable(tag_prefix(home.root))
    async with trio.open_nursery() as nursery:
        await nursery.start(table.run)
        items = [spawn(table, home, "trap '' TERM; while :; do sleep 1; done") for _ in range(15)]
        items.append(spawn(table, home, "setsid sleep 60"))
        with trio.fail_after(20) as scope:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                for item in items:
                    await item.ended.wait()
        assert not scope.cancelled_caught
    assert all(item.status is not None and ends(item.pid) for item in items)
    with pytest.raises(ConflictError, match="not available"):
        spawn(table, home, "true")


async def test_a_table_can_be_run_again(home: Home) -> None:
    """A restarted service goes on with the same table."""
    table = ProcessTable(tag_prefix(home.root))
    for _ in range(2):
        async with trio.open_nursery() as nursery:
            await nursery.start(table.run)
            item = spawn(table, home, "echo hi")
            assert await item.wait(60)
            assert item.output.text() == "hi\n"
            nursery.cancel_scope.cancel()
    assert len(table.list()) == 2


@pytest.mark.parametrize(("action", "effect"), [("list", "read_only"), ("wait", "read_only"), ("kill", "idempotent")])
def test_effects(action: str, effect: str) -> None:
    """Only kill changes anything."""
    assert Process().effect({"action": action}) == effect

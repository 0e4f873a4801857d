"""terminal: what a command gets, what comes back, and that nothing of it survives."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import trio

from hermesd.home import Home
from hermesd.tools.base import ToolContext, ToolResult
from hermesd.tools.environment import child_environment
from hermesd.tools.terminal.command import MAX_COMMAND_BYTES, OUTPUT_BYTES, Terminal
from hermesd.tools.terminal.leftovers import TAG
from tests.servers.descriptors import open_descriptors
from tests.waiting import PATIENCE_S

from .conftest import MakeContext


async def terminal(context: ToolContext, command: str, **more: object) -> ToolResult:
    return await Terminal().run({"command": command, **more}, context)


async def told_through(fifo: Path) -> str:
    """What a command writes to a FIFO; returns when it has written."""
    with trio.fail_after(PATIENCE_S):
        return await trio.to_thread.run_sync(fifo.read_text, abandon_on_cancel=True)


def ends(pid: int, *, within_s: float = 30.0) -> bool:
    """Whether the process has ended, or does so in time; a zombie that its parent has yet to collect has ended."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(within_s * 1000))
    finally:
        os.close(fd)


# -- what comes back -------------------------------------------------------------------------------------------------


async def test_output_of_both_streams_comes_back_in_order(context: ToolContext) -> None:
    """stdout and stderr are one stream, as on a screen."""
    result = await terminal(context, "echo one; echo two >&2; echo three")
    assert result == ToolResult("one\ntwo\nthree\n", untrusted=True)


async def test_a_failing_command_is_an_error_with_its_status(context: ToolContext) -> None:
    """The model sees the status and the output."""
    result = await terminal(context, "echo no; exit 3")
    assert result == ToolResult("no\n[exit status 3]", is_error=True, untrusted=True)


async def test_a_killed_command_is_named_by_its_signal(context: ToolContext) -> None:
    """Also when the OOM killer did it."""
    assert (await terminal(context, "kill -9 $$")).text == "[killed by SIGKILL]"


async def test_silence_is_said(context: ToolContext) -> None:
    """An empty answer confuses models."""
    assert (await terminal(context, "true; true")).text == "[no output]"


async def test_a_command_runs_in_the_workspace_or_below(context: ToolContext) -> None:
    """And nowhere else."""
    (context.workspace / "sub").mkdir()
    assert (await terminal(context, "pwd; true")).text == f"{context.workspace}\n"
    assert (await terminal(context, "pwd; true", cwd="sub")).text == f"{context.workspace}/sub\n"
    for cwd in ("..", "/etc", "missing"):
        assert (await terminal(context, "pwd; true", cwd=cwd)).is_error


async def test_a_command_has_no_input(context: ToolContext) -> None:
    """One that asks gets the end of its input, and does not hang."""
    assert (await terminal(context, 'read answer; echo "<$answer>"')).text == "<>\n"


async def test_a_flood_is_cut_in_the_middle(context: ToolContext) -> None:
    """Head and tail are kept, and how much is missing is said."""
    text = (await terminal(context, "echo first; yes | head -c 3000000; echo last")).text
    assert len(text) < OUTPUT_BYTES + 100
    assert text.startswith("first\ny\n")
    assert text.endswith("y\nlast\n")
    assert f"[… {3_000_011 - OUTPUT_BYTES} bytes left out …]" in text


async def test_bytes_that_are_no_text_come_back_as_text(context: ToolContext) -> None:
    """Replacement characters instead of an exception."""
    assert (await terminal(context, r"printf '\xff\xfea'; true")).text == "\ufffd\ufffda\n"


# -- what it gets ----------------------------------------------------------------------------------------------------


async def test_the_environment_is_exactly_the_allow_list(make_context: MakeContext) -> None:
    """No secret of the daemon reaches a child: what the kernel shows for it is the mapping and the tag."""
    base = {
        **{name: f"value of {name}" for name in ("HOME", "USER", "TERM", "SHELL", "TMPDIR")},
        "LANG": "C",
        "LC_ALL": "C",
        "PATH": os.environ["PATH"],
        "XDG_RUNTIME_DIR": "/run/x",
        "OPENAI_API_KEY": "SECRET",
        "HERMES_HOME": "SECRET",
        "LD_PRELOAD": "SECRET",
        "PYTHONPATH": "SECRET",
        "MY_TOOL": "passed",
    }
    env = child_environment(base, ["MY_TOOL", "NOT_SET"], {"EXTRA": "given"})
    assert "SECRET" not in env.values()
    context = make_context(env=env)
    shown = (await terminal(context, r"tr '\0' '\n' < /proc/$$/environ")).text
    found = dict(line.split("=", 1) for line in shown.splitlines())
    tag = found.pop(TAG)
    assert found == env
    assert set(env) == set(base) - {"OPENAI_API_KEY", "HERMES_HOME", "LD_PRELOAD", "PYTHONPATH"} | {"EXTRA"}
    assert tag.count(":") == 1
    printed = (await terminal(context, "env")).text
    names = {line.partition("=")[0] for line in printed.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {*env, TAG}


def test_there_is_always_a_path() -> None:
    """A shell without one invents its own."""
    assert child_environment({}) == {"PATH": "/usr/local/bin:/usr/bin:/bin"}


async def test_a_child_has_no_descriptor_of_the_daemon(context: ToolContext) -> None:
    """Not the socket, not the state file: only its own three."""
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        text = (await terminal(context, "ls /proc/$$/fd; true")).text
    finally:
        os.close(read)
        os.close(write)
    assert set(text.split()) <= {"0", "1", "2", "255"}


# -- that nothing survives -------------------------------------------------------------------------------------------


async def test_what_was_said_before_a_timeout_comes_back(context: ToolContext) -> None:
    """And the command is gone."""
    result = await terminal(context, "echo $$; sleep 60; echo never", timeout=1.5)
    assert result.is_error
    pid, note = result.text.split("\n")
    assert note.startswith("[ended after 1.5 s")
    assert ends(int(pid))


async def test_a_command_that_ignores_sigterm_is_killed(context: ToolContext) -> None:
    """Two seconds after it was asked, and not before."""
    started = time.monotonic()
    with trio.fail_after(PATIENCE_S):
        result = await terminal(context, "trap '' TERM; echo $$; while :; do sleep 1; done", timeout=1)
    assert time.monotonic() - started >= 3.0
    assert ends(int(result.text.split("\n")[0]))


async def test_a_command_can_clean_up_at_sigterm(context: ToolContext) -> None:
    """What it says then is part of the output."""
    result = await terminal(context, "trap 'echo cleaned; exit' TERM; sleep 60 & wait", timeout=1.5)
    assert result.text.startswith("cleaned\n")


WRITTEN = "while [ ! -s pid ]; do sleep 0.01; done"
LEAVERS = {
    "same group": "sleep 600 & echo $! > pid",
    "holding the pipe": f"sh -c 'echo $$ > pid; sleep 600' & {WRITTEN}",
    "no hang-up": "nohup sleep 600 > /dev/null 2>&1 & echo $! > pid",
    "own session": f"setsid sh -c 'echo $$ > pid; exec sleep 600' > /dev/null 2>&1 & {WRITTEN}",
    "own session holding the pipe": f"setsid sh -c 'echo $$ > pid; exec sleep 600' & {WRITTEN}",
    "double fork": f"setsid sh -c '(setsid sh -c \"echo \\$\\$ > pid; exec sleep 600\" &) ' & {WRITTEN}",
    "ignoring signals": f"setsid sh -c 'trap \"\" TERM HUP; echo $$ > pid; while :; do sleep 1; done' & {WRITTEN}",
    "without environment": f"env -i sh -c 'echo $$ > pid; exec sleep 600' & {WRITTEN}",
    "group of its own": "set -m; sleep 600 & echo $! > pid",
    "group of its own, without environment": "set -m; env -i sleep 600 & echo $! > pid",
}


@pytest.mark.parametrize("how", LEAVERS)
async def test_what_a_command_leaves_behind_is_ended_with_it(context: ToolContext, how: str) -> None:
    """The call returns at once with what there is, whoever still holds the pipe, and nobody is left."""
    with trio.fail_after(PATIENCE_S):
        result = await terminal(context, f"echo said; {LEAVERS[how]}")
    assert result.text.startswith("said\n")
    assert ends(int((context.workspace / "pid").read_text()))


@pytest.mark.parametrize("how", LEAVERS)
async def test_cancelling_a_call_ends_all_of_it(context: ToolContext, how: str) -> None:
    """Also what has left the group; and the cancellation arrives."""
    os.mkfifo(context.workspace / "ready")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(terminal, context, f"{LEAVERS[how]}; echo yes > ready; sleep 60")
        assert await told_through(context.workspace / "ready") == "yes\n"
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    assert ends(int((context.workspace / "pid").read_text()))


def children() -> set[int]:
    """Of this process, those that have ended and were not waited for included."""
    return {child.pid for child in psutil.Process().children()}


async def test_no_zombie_and_no_descriptor_is_left(context: ToolContext) -> None:
    """After any number of commands, whichever way they ended."""
    await terminal(context, "true; true")
    before, others = open_descriptors(), children()
    for _ in range(20):
        await terminal(context, "(sleep 60 &); true")
        with trio.move_on_after(0.005):
            await terminal(context, "sleep 60; true")
    assert open_descriptors() == before
    assert children() == others


async def test_thirty_calls_at_once_keep_apart(context: ToolContext) -> None:
    """Each gets its own output and nobody ends another's."""
    results: dict[int, str] = {}

    async def one(number: int) -> None:
        results[number] = (await terminal(context, f"sleep 0.0{number % 10}; echo {number}")).text

    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(one, number)
    assert results == {number: f"{number}\n" for number in range(30)}


# -- when it cannot be started ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
async def test_a_machine_that_is_short_of_something_is_an_error_for_the_model(
    context: ToolContext, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Injected: fork fails. The daemon goes on, and nothing is left open."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    before = open_descriptors()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", fail)
        result = await terminal(context, "true; true")
    assert result.is_error
    assert result.text.endswith("the machine is short of something now, try again later")
    assert open_descriptors() == before
    assert not (await terminal(context, "true; true")).is_error


async def test_a_child_that_cannot_be_watched_is_not_left_running(
    context: ToolContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Injected: pidfd_open fails after the fork."""

    def fail(pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    others = children()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pidfd_open", fail)
        assert (await terminal(context, "sleep 60; true")).is_error
    assert children() == others


@pytest.mark.parametrize("command", ["echo a\0b", "x" * (MAX_COMMAND_BYTES + 1)])
async def test_a_command_that_no_shell_takes_is_refused(context: ToolContext, command: str) -> None:
    """With a sentence, not with an exception."""
    assert (await terminal(context, command)).is_error


# -- read-only commands -----------------------------------------------------------------------------------------------


async def test_a_read_only_command_runs_without_a_shell(context: ToolContext) -> None:
    """What was judged is what runs, word by word."""
    (context.workspace / "a b").write_text("hello\n")
    (context.workspace / "c").write_text("world\n")
    assert Terminal().effect({"command": "cat 'a b' c"}) == "read_only"
    assert (await terminal(context, "cat 'a b' c")).text == "hello\nworld\n"
    assert (await terminal(context, "echo '$HOME;' a=b")).text == "$HOME; a=b\n"
    assert (await terminal(context, "pwd")).text == f"{context.workspace}\n"


async def test_a_read_only_command_does_not_read_through_a_link_or_a_secret(
    context: ToolContext, make_context: MakeContext, home: Home, tmp_path: Path
) -> None:
    """`cat` follows the rules of read_file, because nobody is asked about it."""
    (tmp_path / "secret").write_text("SECRET")
    (context.workspace / "link").symlink_to(tmp_path / "secret")
    for result in (
        await terminal(context, "cat link"),
        await terminal(make_context(workspace=home.root), "cat .env"),
        await terminal(make_context(workspace=home.root), "cat auth.json", cwd="workspace/.."),
        await terminal(make_context(workspace=home.root), "cat github.json", cwd="mcp-tokens"),
    ):
        assert result.is_error
        assert "SECRET" not in result.text


async def test_a_program_in_the_workspace_does_not_stand_in_for_a_read_only_one(make_context: MakeContext) -> None:
    """PATH entries that a model can write to, or that are relative, do not count."""
    context = make_context()
    fake = context.workspace / "bin" / "ls"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho pwned\n")
    fake.chmod(0o755)
    evil = make_context(env={**context.env, "PATH": f"bin:{fake.parent}::{context.env['PATH']}"})
    assert (await terminal(evil, "ls")).text == "bin\n"


async def test_a_repository_cannot_make_git_status_run_a_program(context: ToolContext) -> None:
    """core.fsmonitor, a pager and an external diff are programs named by a repository's own config."""
    work = context.workspace
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(work)]
    subprocess.run([*git, "init", "-q"], check=True)
    (work / "f").write_text("one\n")
    (work / ".gitattributes").write_text("f diff=evil\n")
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "x"], check=True)
    (work / "f").write_text("two\n")
    trap = f"touch {work}/pwned; cat"
    for key in ("core.fsmonitor", "diff.external", "diff.evil.command", "diff.evil.textconv", "core.pager"):
        subprocess.run([*git, "config", key, trap], check=True)
    for command in ("git status", "git diff", "git log -p", "git show HEAD", "git branch", "git ls-files"):
        assert Terminal().effect({"command": command}) == "read_only"
        result = await terminal(context, command)
        assert not result.is_error, result.text
        assert not (work / "pwned").exists(), command


async def test_a_terminated_leader_does_not_take_the_test_along(context: ToolContext) -> None:
    """A command's own session: a signal to its group is its own affair."""
    result = await terminal(context, "kill -TERM 0; sleep 1")
    assert result.text == f"[killed by {signal.SIGTERM.name}]"

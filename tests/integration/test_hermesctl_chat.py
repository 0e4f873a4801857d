"""Chatting with a real daemon: one question, a terminal, and a daemon that dies in the middle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.daemon import Daemon
from tests.servers.terminal import Terminal, at_terminal

CTL = [sys.executable, "-m", "hermesctl"]


def environment(daemon: Daemon, **more: str) -> dict[str, str]:
    return {**os.environ, "HERMES_HOME": str(daemon.home), "TERM": "dumb", **more}


@pytest.fixture
def terminal(daemon: Daemon) -> Iterator[Terminal]:
    """An interactive chat with a running daemon."""
    daemon.start()
    with at_terminal([*CTL, "chat"], environment(daemon)) as found:
        found.expect("profile default")
        yield found


def has_ended(pid: int) -> bool:
    """Gone, or waiting for an init that has not collected it yet (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_one_question_prints_the_answer_and_nothing_else(daemon: Daemon) -> None:
    """Status 0; --json gives the whole result."""
    daemon.start()
    done = daemon.ctl("chat", "-q", "hello there")
    assert (done.returncode, done.stderr) == (0, "")
    assert "You wrote: 'hello there'" in done.stdout
    result = json.loads(daemon.ctl("chat", "-q", "hello", "--json").stdout)
    assert result["state"] == "done"


def test_a_question_may_come_through_a_pipe(daemon: Daemon) -> None:
    """Without any, the agent introduces itself: what ``make run`` shows without a terminal."""
    daemon.start()
    assert "You wrote: 'from a pipe'" in daemon.ctl("chat", stdin="from a pipe\n").stdout
    done = daemon.ctl("chat")
    assert done.returncode == 0
    assert "Introduce yourself" in done.stdout


def test_sessions_go_on_or_begin_anew(daemon: Daemon) -> None:
    """The local session by default, --new, -c and --resume by the beginning of an id."""
    daemon.start()

    def session(*flags: str) -> str:
        return str(json.loads(daemon.ctl("chat", "-q", "hi", "--json", *flags).stdout)["session"])

    first = session()
    assert session() == first
    second = session("--new")
    assert second != first
    assert session("-c") == second
    assert session("--resume", first[:-1]) == first
    missing = daemon.ctl("chat", "-q", "hi", "--resume", "nothing")
    assert (missing.returncode, missing.stdout) == (1, "")


def test_an_approval_is_declined_where_nobody_can_be_asked(daemon: Daemon) -> None:
    """Said on standard error; --yolo allows."""
    daemon.write_config("policy: {idempotent: ask}\n")
    daemon.start()
    path = daemon.home / "workspace/x.txt"
    done = daemon.ctl("chat", "-q", "write x.txt: hi")
    assert "hermesctl: declined:" in done.stderr
    assert not path.exists()
    done = daemon.ctl("chat", "--yolo", "-q", "write x.txt: hi")
    assert "allowed (--yolo)" in done.stderr
    assert path.read_text() == "hi"


def test_spawn_starts_the_daemon_and_stop_waits_for_its_end(daemon: Daemon) -> None:
    """It outlives the client, and is gone when ``stop`` returns."""
    done = daemon.ctl("chat", "--spawn", "-q", "hello")
    try:
        assert done.returncode == 0, done.stderr
        assert "runs in the background" in done.stderr
        pid = int(json.loads(daemon.ctl("rpc", "call", "rpc.hello").stdout)["pid"])
    finally:
        stopped = daemon.ctl("stop")
    assert stopped.stdout == "hermesd has stopped\n"
    assert has_ended(pid)
    assert daemon.ctl("status").returncode == 69


def test_a_daemon_that_cannot_start_says_why(daemon: Daemon) -> None:
    """The file and line of the configuration error, not a time-out."""
    daemon.write_config("modle: x\n")
    done = daemon.ctl("chat", "--spawn", "-q", "hello")
    assert done.returncode in (69, 78)
    assert "config.yaml:1" in done.stderr
    assert "did you mean 'model'?" in done.stderr


def test_a_daemon_killed_in_the_middle_loses_and_doubles_nothing(daemon: Daemon) -> None:
    """The client waits, says it again under the same delivery id, and prints the one answer."""
    daemon.start()
    client = subprocess.Popen(
        [*CTL, "chat", "-q", "slow 15"],
        env=environment(daemon),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with daemon.connect() as wire:
            wire.send("events.watch", since=0)
            while wire.until("events.event")["event"]["kind"] != "turn.started":
                pass
        daemon.kill()
        daemon.start()
        answer, told = client.communicate(timeout=60)
    finally:
        client.kill()
    assert client.returncode == 0, told
    assert "hermesd is away" in told
    assert answer.split() == [f"word{number}" for number in range(1, 16)]
    [row] = daemon.call("inbox.list", states=["pending", "running", "done", "parked", "failed"])["rows"]
    assert row["state"] == "done"
    session = daemon.call("sessions.list")["sessions"][0]["id"]
    messages = daemon.call("sessions.show", session=session)["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant"]


def test_a_chat_streams_answers_and_leaves_by_ctrl_d(terminal: Terminal) -> None:
    """Messages, a tool, an unknown command with a hint, Ctrl-C at the prompt."""
    terminal.type("hello\n")
    terminal.expect("You wrote: 'hello'.")
    terminal.type("write x.txt: hi\n")
    terminal.expect("⚙ write_file")
    terminal.expect("created x.txt")
    terminal.type("/stauts\n")
    terminal.expect("did you mean /status?")
    terminal.type("/status\n")
    terminal.expect("services")
    terminal.type("//x\n")
    terminal.expect("in .env.\n› ")
    terminal.interrupt()
    terminal.expect("Ctrl-D leaves")
    terminal.type("\x04")
    assert terminal.wait() == 0


def test_ctrl_c_stops_the_turn_and_not_the_client(terminal: Terminal) -> None:
    """What was said so far stays; the chat goes on."""
    terminal.type("slow 200\n")
    terminal.expect("word3")
    terminal.type("\x03")
    terminal.expect("(cancelled")
    assert "word199" not in terminal.seen
    terminal.type("hello\n")
    terminal.expect("You wrote: 'hello'.")
    terminal.type("/quit\n")
    assert terminal.wait() == 0


def test_a_question_of_the_turn_is_answered_in_place(terminal: Terminal) -> None:
    """By number; Ctrl-C at it stops the turn."""
    terminal.type("ask me which? [red | blue]\n")
    terminal.expect("2. blue")
    terminal.expect("answer: ")
    terminal.type("2\n")
    terminal.expect("clarify said:\nblue")
    terminal.type("ask me which? [red | blue]\n")
    terminal.expect("answer: ")
    terminal.interrupt()
    terminal.expect("(cancelled")


def test_a_session_is_left_and_taken_up_again(terminal: Terminal, daemon: Daemon) -> None:
    """/new and /resume; a resumed one shows its end."""
    terminal.type("first words\n")
    terminal.expect("You wrote: 'first words'")
    session = daemon.call("sessions.list")["sessions"][0]["id"]
    terminal.type("/new\n")
    terminal.expect("a fresh session")
    terminal.type("other words\n")
    terminal.expect("You wrote: 'other words'")
    assert len(daemon.call("sessions.list")["sessions"]) == 2
    terminal.type(f"/resume {session}\n")
    terminal.expect("› first words")


def test_the_prompt_of_a_full_terminal(daemon: Daemon) -> None:
    """prompt_toolkit: history by Up, completion by Tab."""
    if shutil.which("tmux") is None:
        pytest.skip("no tmux here")
    daemon.start()
    socket = str(daemon.home.parent / "tmux")
    tmux = ["tmux", "-S", socket, "-f", "/dev/null"]

    def screen() -> str:
        return subprocess.run([*tmux, "capture-pane", "-p", "-J"], capture_output=True, text=True, check=True).stdout

    def press(*keys: str) -> None:
        subprocess.run([*tmux, "send-keys", *keys], check=True)

    def see(text: str, times: int = 1) -> None:
        # tmux tells nobody what it has drawn; each look is a process, and their number bounds the wait.
        for _ in range(2000):
            if screen().count(text) >= times:
                return
        raise AssertionError(screen())

    command = f"exec env HERMES_HOME={daemon.home} {' '.join(CTL)} chat"
    subprocess.run([*tmux, "new-session", "-d", "-x", "100", "-y", "40", command], check=True)
    try:
        see("›")
        press("hello", "Enter")
        see("You wrote: 'hello'")
        press("/stat", "Tab")
        see("/status")
        press("C-u", "Up", "Enter")
        see("You wrote: 'hello'", 2)
        assert (daemon.home / "chat_history").stat().st_mode & 0o777 == 0o600
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)

"""Cases 25, 31 and 33 on a real daemon: stopped, told to stop at any moment, or restarted by its own tool."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesd.gateway.platforms.telegram_api import CALL_TIMEOUT_S
from tests.faults.blackbox import (
    events,
    free_port,
    inbox,
    log_of,
    post,
    restarted,
    run_gateway,
    services,
    telegram_config,
    webhook_config,
)
from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.daemon import Daemon
from tests.waiting import PATIENCE_S, wait_until


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as running:
        yield running


@contextlib.contextmanager
def silent_server() -> Iterator[socket.socket]:
    """Accepts by its backlog and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        yield listener


# -- 31: TERM and HUP ------------------------------------------------------------------------------------------------


def test_a_term_while_a_platform_is_still_starting_stops_at_once(daemon: Daemon) -> None:
    """The platform's server accepts and never answers; the daemon neither waits for it nor for its timeout."""
    with silent_server() as server:
        base_url = f"http://127.0.0.1:{server.getsockname()[1]}"
        daemon.write_config("platforms:\n" + telegram_config(base_url), env="TELEGRAM_BOT_TOKEN=1:a\n")
        run_gateway(daemon)
        for name in ("one", "two", "three"):
            daemon.write_config("agent: {max_turns: 5}\n", profile=name)
        (daemon.home / "profiles").chmod(0o700)
        daemon.start(wait=False)
        with server.accept()[0]:
            os.kill(daemon.pid, signal.SIGTERM)
            assert daemon.wait(CALL_TIMEOUT_S * 2 / 3) == 0
    assert not (daemon.home / "hermesd.pid").exists()
    assert not daemon.socket_path.exists()


def test_a_platform_that_does_not_answer_delays_no_readiness(daemon: Daemon) -> None:
    """Ready means that what is accepted is kept; a chat server that hangs is its own service's trouble."""
    with silent_server() as server:
        base_url = f"http://127.0.0.1:{server.getsockname()[1]}"
        daemon.write_config("platforms:\n" + telegram_config(base_url), env="TELEGRAM_BOT_TOKEN=1:a\n")
        run_gateway(daemon)
        for name in ("one", "two", "three"):
            daemon.write_config("agent: {max_turns: 5}\n", profile=name)
        (daemon.home / "profiles").chmod(0o700)
        daemon.start()
        assert services(daemon)["profile/default/telegram"]["state"] == "starting"
        assert daemon.stop() == 0


@pytest.mark.parametrize("number", range(4))
def test_a_term_at_any_moment_of_the_start_ends_it_cleanly(daemon: Daemon, number: int) -> None:
    """Also before there is a handler: then by the signal itself; the next start is a normal one."""
    daemon.executed = True
    daemon.start(wait=False)
    select.select([], [], [], 0.09 * (number + 1))  # of a start that takes about 0.4 s
    os.kill(daemon.pid, signal.SIGTERM)
    assert daemon.wait(PATIENCE_S) in (0, -signal.SIGTERM)
    assert "Traceback" not in daemon.output
    daemon.start()
    assert daemon.stop() == 0


def test_a_term_in_drain_lets_the_running_turn_end(daemon: Daemon) -> None:
    """Its client gets the answer, and the daemon ends with 0."""
    daemon.start()
    with daemon.connect() as wire:
        request = wire.send("chat.send", text="slow 10")
        wire.until("chat.update", kind="text")
        os.kill(daemon.pid, signal.SIGTERM)
        assert wire.result(request)["state"] == "done"
    assert daemon.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("second", ["TERM", "deadline"])
def test_a_turn_cut_short_by_a_stop_is_resumed_and_answered_after_the_restart(daemon: Daemon, second: str) -> None:
    """By a second TERM, or by the drain's deadline: the turn is put back, and its answer is there afterwards."""
    daemon.write_config(f"shutdown: {{drain_s: {3600 if second == 'TERM' else 0.3}}}\n")
    daemon.start()
    with daemon.connect() as wire, log_of(daemon) as log:
        wire.send("chat.send", text="slow 200", delivery_id="d-1")
        wire.until("chat.update", kind="text")
        os.kill(daemon.pid, signal.SIGTERM)
        if second == "TERM":
            log.until('"stopping"')
            os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait(PATIENCE_S) == 0
    daemon.start()
    with daemon.connect() as wire:
        request = wire.send("chat.send", text="slow 200", delivery_id="d-1")
        wire.until("chat.update", kind="text")
        daemon.call("chat.interrupt")
        assert wire.result(request)["state"] in ("cancelled", "done")
    [row] = inbox(daemon)
    turn = daemon.call("inbox.show", id=row["id"])["turn"]
    assert turn["attempts"] == 2
    assert turn.get("crashes", 0) == 0
    assert daemon.stop() == 0


def test_a_storm_of_hups_reads_the_configuration_as_it_is_in_the_end(daemon: Daemon) -> None:
    """100 signals while the file changes under them, from before READY on; nothing restarts, and a TERM is heeded."""
    daemon.write_config("agent: {max_turns: 1}\n")
    daemon.start(wait=False)
    _await_handlers(daemon)
    for number in range(2, 102):
        daemon.write_config(f"agent: {{max_turns: {number}}}\n")
        os.kill(daemon.pid, signal.SIGHUP)
    with daemon.connect() as wire:
        wire.call("daemon.reload")
        assert wire.call("config.show", key="agent.max_turns")["value"] == 101
    assert restarted(daemon) == []
    for _ in range(100):
        os.kill(daemon.pid, signal.SIGHUP)
    os.kill(daemon.pid, signal.SIGTERM)
    for _ in range(100):
        os.kill(daemon.pid, signal.SIGHUP)
    assert daemon.wait(PATIENCE_S) == 0


def _await_handlers(daemon: Daemon) -> None:
    """Until the process catches SIGHUP (proc_pid_status(5), SigCgt), or has ended."""
    assert daemon.process is not None
    process = daemon.process

    def is_caught() -> int:
        status = Path(f"/proc/{daemon.pid}/status").read_text()
        caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt")).split()[1], 16)
        return caught & 1 << signal.SIGHUP - 1

    wait_until(lambda: process.poll() is not None or is_caught())


# -- 25: SIGSTOP -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped_s", [2.5, pytest.param(60.0, marks=pytest.mark.long)])
def test_a_daemon_that_stood_still_loses_nothing_and_bursts_nothing(
    daemon: Daemon, platform: Crabline, stopped_s: float
) -> None:
    """SIGSTOP with a turn under way and clients waiting; after SIGCONT each message is answered once."""
    port = free_port()
    daemon.write_config(
        "agent: {busy: queue}\nplatforms:\n" + webhook_config(port) + telegram_config(platform.base_url),
        env=f"TELEGRAM_BOT_TOKEN={platform.token}\n",
    )
    run_gateway(daemon)
    daemon.start()
    answers: dict[str, int] = {}
    with events(daemon) as watch, log_of(daemon) as log, daemon.connect(stopped_s + 30) as wire:
        log.until("profile/default/telegram is ready")
        running = wire.send("chat.send", text="slow 5", delivery_id="r-1")
        wire.until("chat.update", kind="text")
        os.kill(daemon.pid, signal.SIGSTOP)

        def deliver(name: str) -> None:
            answers[name] = post(port, f"hello {name}", name, timeout_s=stopped_s + 30)[0]

        clients = [threading.Thread(target=deliver, args=(f"d-{number}",)) for number in range(4)]
        for client in clients:
            client.start()
        waiting = wire.send("chat.send", text="hello rpc", delivery_id="r-2")
        for number in range(3):
            platform.say(f"hello telegram-{number}")
        polls = len(platform.calls("getUpdates"))
        select.select([], [], [], stopped_s)  # the fault itself
        os.kill(daemon.pid, signal.SIGCONT)
        for client in clients:
            client.join()
        assert set(answers.values()) == {202}
        assert wire.result(running)["state"] == wire.result(waiting)["state"] == "done"
        sent = Counter(event["data"]["platform"] for event in watch.seen if event["kind"] == "outbox.sent")
        while sent["telegram"] < 3 or sent["local"] < 4:
            sent[watch.until("outbox.sent")["data"]["platform"]] += 1
    assert Counter(row["state"] for row in inbox(daemon)) == {"done": 9}
    for number in range(3):
        assert sum(f"'hello telegram-{number}'" in text for text in platform.shown()) == 1
    assert len(platform.calls("getUpdates")) - polls <= 8
    assert restarted(daemon) == []
    held_ms = re.findall(r"held the loop for (\d+) ms", "\n".join(daemon.call("logs.tail", lines=1000)["lines"]))
    assert sum(int(each) >= 800 * stopped_s for each in held_ms) <= 1  # a busy machine has short ones of its own
    assert daemon.stop() == 0


# -- 33: a tool restarts the daemon ----------------------------------------------------------------------------------

ALLOWED = "policy: {unsafe: allow, tools: {terminal: allow}}\nshutdown: {drain_s: 5}\n"


def test_a_tool_that_tells_the_daemon_to_stop_does_not_do_so_for_ever(daemon: Daemon) -> None:
    """``kill -TERM`` from inside a turn: the turn ends in the drain, or is parked; the next start stays up."""
    daemon.write_config(ALLOWED)
    daemon.start()
    with daemon.connect() as wire:
        wire.send("chat.send", text=f"$ kill -TERM {daemon.pid}", delivery_id="d-1")
        assert daemon.wait(PATIENCE_S) == 0
    daemon.start()
    result = daemon.call("chat.send", text="$ the same", delivery_id="d-1", quiet=True)
    assert result["state"] in ("done", "parked")
    assert result["duplicate"]
    assert daemon.call("chat.send", text="hello", quiet=True)["state"] == "done"
    assert daemon.stop() == 0


def test_a_tool_that_kills_the_daemon_is_parked_with_what_is_known(daemon: Daemon) -> None:
    """``kill -9`` from inside a turn: whether it was done cannot be known, so its owner decides; there is no loop."""
    daemon.write_config(ALLOWED)
    daemon.start()
    command = f"$ echo once >> effects.txt; kill -9 {daemon.pid}"
    with daemon.connect() as wire:
        wire.send("chat.send", text=command, delivery_id="d-1")
        assert daemon.wait(PATIENCE_S) == -signal.SIGKILL
    daemon.start()
    result = daemon.call("chat.send", text=command, delivery_id="d-1", quiet=True)
    assert result["state"] == "parked"
    assert "terminal" in result["text"]
    assert "cannot know" in result["text"]
    assert daemon.call("chat.send", text="hello", quiet=True)["state"] == "done"
    assert (daemon.home / "workspace" / "effects.txt").read_text() == "once\n"
    assert "parked" in daemon.ctl("status").stdout
    assert daemon.stop() == 0


def test_a_message_that_stops_the_daemon_twice_is_parked_and_the_third_start_stays_up(daemon: Daemon) -> None:
    """Killed from outside while the turn runs, twice: it may be the message's fault, so it is not tried again."""
    daemon.start()
    with daemon.connect() as wire:
        wire.send("chat.send", text="slow 100", delivery_id="d-1")
        wire.until("chat.update", kind="text")
        daemon.kill()
    daemon.start()
    with daemon.connect() as wire:
        wire.send("chat.send", text="slow 100", delivery_id="d-1")
        wire.until("chat.update", kind="text")
        daemon.kill()
    daemon.start()
    assert daemon.call("chat.send", text="slow 100", delivery_id="d-1", quiet=True)["state"] == "parked"
    [row] = daemon.call("inbox.list", states=["parked"])["rows"]
    assert daemon.ctl("inbox", "drop", str(row["id"])).returncode == 0
    assert daemon.stop() == 0

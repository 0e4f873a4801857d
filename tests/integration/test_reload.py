"""A change of configuration on a running daemon: in force at once, and only what it touches is restarted."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesd.config.reload import DEBOUNCE_S
from tests.faults.blackbox import (
    doctor,
    events,
    free_port,
    log_of,
    post,
    run_gateway,
    services,
    telegram_config,
    webhook_config,
)
from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.daemon import Daemon, RpcFailure


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as running:
        yield running


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users may pass through, which pytest's own are not."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory(prefix="hermesd-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def put(daemon: Daemon, text: str, how: str, name: str = "config.yaml") -> None:
    """As editors do: written in place, or renamed over the old one."""
    path = daemon.home / name
    if how == "rename":
        beside = daemon.home / ".edited"
        beside.write_text(text)
        beside.chmod(0o600)
        beside.rename(path)
    else:
        path.write_text(text)
        path.chmod(0o600)


def since(daemon: Daemon) -> dict[str, float]:
    """Service → since when it is as it is, once none is starting any more; a restart would change it."""
    with log_of(daemon) as log:
        while any(row["state"] == "starting" for row in services(daemon).values()):
            log.until("is ")
    return {name: row["since"] for name, row in services(daemon).items()}


@pytest.mark.parametrize("how", ["in place", "rename"])
def test_an_edited_config_is_in_force_by_itself_and_restarts_nothing_else(daemon: Daemon, how: str) -> None:
    """Noticed by itself; an event says what was touched."""
    put(daemon, "agent: {max_turns: 10}\n", how)
    daemon.start()
    before = since(daemon)
    with events(daemon) as watch:
        put(daemon, "agent: {max_turns: 11}\n", how)
        assert watch.until("config.applied")["data"]["touched"] == ["agent"]
    assert daemon.call("config.show", key="agent.max_turns")["value"] == 11
    assert since(daemon) == before


def test_an_edit_is_in_force_little_later_than_one_that_is_asked_for(daemon: Daemon) -> None:
    """Compared in turn: nothing looks at the files now and then, and only the end of the writing is waited for."""
    daemon.write_config("agent: {max_turns: 10}\n")
    daemon.start()
    since(daemon)
    noticed, asked = [], []
    with events(daemon) as watch:
        for turns in (11, 13, 15):
            began = time.monotonic()
            daemon.write_config(f"agent: {{max_turns: {turns}}}\n")
            watch.until("config.applied")
            noticed.append(time.monotonic() - began)
            began = time.monotonic()
            daemon.write_config(f"agent: {{max_turns: {turns + 1}}}\n")
            daemon.call("daemon.reload")
            asked.append(time.monotonic() - began)
            watch.until("config.applied")
    assert min(noticed) < 10 * (DEBOUNCE_S + min(asked))


@pytest.mark.parametrize("by", ["signal", "command", "method"])
def test_asking_for_a_reload_does_what_noticing_does(daemon: Daemon, by: str) -> None:
    """SIGHUP, hermesctl reload and daemon.reload: the same event, once."""
    daemon.write_config("agent: {max_turns: 10}\n")
    daemon.start()
    with events(daemon) as watch:
        daemon.write_config("agent: {max_turns: 11}\n")
        if by == "signal":
            os.kill(daemon.pid, signal.SIGHUP)
        elif by == "command":
            assert daemon.ctl("reload").returncode == 0
        else:
            daemon.call("daemon.reload")
        watch.until("config.applied")
        assert daemon.call("config.show", key="agent.max_turns")["value"] == 11
        assert daemon.ctl("reload").returncode == 0
        daemon.call("chat.send", text="hello", quiet=True)
        watch.until("turn.finished")
    assert [event["kind"] for event in watch.seen].count("config.applied") == 1


def test_a_new_secret_restarts_its_platform_only(daemon: Daemon, platform: Crabline) -> None:
    """.env: the bot with the new token comes up; the webhooks and the other services do not notice."""
    port = free_port()
    daemon.write_config(
        "platforms:\n" + webhook_config(port) + telegram_config(platform.base_url),
        env="TELEGRAM_BOT_TOKEN=1:wrong\n",
    )
    run_gateway(daemon)
    daemon.start()
    before = since(daemon)
    with events(daemon) as watch:
        put(daemon, f"TELEGRAM_BOT_TOKEN={platform.token}\n", "rename", ".env")
        watch.until("config.applied")
        platform.say("hello")
        watch.until("outbox.sent", platform="telegram")
    after = since(daemon)
    assert {name for name in after if after[name] != before.get(name)} == {"profile/default/telegram"}
    assert post(port, "hello", "d-1")[0] == 202
    assert platform.token not in daemon.output
    assert platform.token not in (daemon.home / "logs" / "hermesd.log").read_text()


def test_a_changed_route_is_answered_without_a_gap_and_restarts_nothing(daemon: Daemon) -> None:
    """Routes are swapped while the listener goes on."""
    port = free_port()
    daemon.write_config("platforms:\n" + webhook_config(port))
    run_gateway(daemon)
    daemon.start()
    before = since(daemon)
    with events(daemon) as watch:
        daemon.write_config("platforms:\n" + webhook_config(port, deliver="log"))
        watch.until("config.applied")
        assert post(port, "hello", "d-1")[0] == 202
        watch.until("outbox.sent", platform="log")
    assert since(daemon) == before


def test_a_refused_change_leaves_the_old_configuration_in_force(daemon: Daemon) -> None:
    """An unknown key: an event, doctor and the answer name file, line and the nearest key; mending it is noticed."""
    daemon.write_config("agent: {max_turns: 10}\n")
    daemon.start()
    with events(daemon) as watch:
        daemon.write_config("agent:\n  max_turns: 11\n  max_turn: 12\n")
        refused = watch.until("config.refused")["data"]
        assert refused["where"] == f"{daemon.home / 'config.yaml'}:3"
        assert "max_turns" in refused["next_step"] + refused["error"]
        assert daemon.call("config.show", key="agent.max_turns")["value"] == 10
        assert "config.yaml:3" in doctor(daemon)["config of default"]["detail"]
        told = daemon.ctl("reload")
        assert told.returncode == 78
        assert "config.yaml:3" in told.stdout + told.stderr
        daemon.write_config("agent:\n  max_turns: 12\n")
        watch.until("config.applied")
    assert "config of default" not in doctor(daemon)
    assert daemon.call("config.show", key="agent.max_turns")["value"] == 12


def test_roles_taken_away_by_a_reload_are_gone_with_the_answer_to_it(open_directory: Path) -> None:
    """A connection that was open before is refused its next call. (As a member of the group, by a child process.)"""
    user = pwd.getpwnam("daemon")
    daemon = Daemon(open_directory / "home")
    daemon.home.mkdir(mode=0o711)
    daemon.write_config("rpc: {group: daemon, roles: [read, chat]}\n")
    daemon.start()
    program = """
import json, os, socket, sys
uid, gid = int(sys.argv[2]), int(sys.argv[3])
os.setgroups([]); os.setgid(gid); os.setuid(uid)
sock = socket.socket(socket.AF_UNIX); sock.connect(sys.argv[1]); lines = sock.makefile("rb")
def call(number):
    frame = {"jsonrpc": "2.0", "id": number, "method": "daemon.tree", "params": {}}
    sock.sendall(json.dumps(frame).encode() + b"\\n")
    return json.loads(lines.readline())
print("result" in call(1), flush=True)
sys.stdin.readline()
print(call(2)["error"]["code"], flush=True)
"""
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", program, str(daemon.socket_path), str(user.pw_uid), str(user.pw_gid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "True\n"
        daemon.write_config("agent: {max_turns: 9}\n")
        daemon.call("daemon.reload")
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.stdout.readline() == "-32005\n"
    daemon.kill()


def test_a_profile_made_and_removed_on_disk_is_taken_up_and_dropped_by_a_reload(daemon: Daemon) -> None:
    """A directory that appeared answers; one that vanished is unknown."""
    daemon.start()
    root = daemon.home / "profiles" / "coder"
    root.mkdir(mode=0o700)
    assert daemon.call("daemon.reload")["applied"] == ["coder: loaded"]
    assert daemon.call("chat.send", profile="coder", text="hello", quiet=True)["state"] == "done"
    shutil.rmtree(root)
    assert daemon.call("daemon.reload")["applied"] == ["coder: removed"]
    with pytest.raises(RpcFailure):
        daemon.call("chat.send", profile="coder", text="hello", quiet=True)

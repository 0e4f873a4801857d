"""Profiles with ``isolation: process`` under a real s6-svscan: their slots follow what is desired, whatever died."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermesd.apart import MATRIX, Apart
from hermesd.deploy import s6_scandir
from hermesd.deploy.manager import ServiceCommandError
from hermesd.deploy.s6 import S6
from hermesd.errors import ConfigError
from hermesd.home import Home
from tests.servers.daemon import Daemon, RpcFailure
from tests.servers.s6 import Tree, svscan
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
OWN = "isolation: process\n"
SLOT = "gateway-coder"
READY = "#!/bin/sh\necho >&3\nexec 3>&-\nexec sleep 1000\n"
KILLED_BEFORE_RENAME = """
import os, sys
from pathlib import Path
from hermesd.deploy.s6 import S6
Path.rename = lambda *_: os.kill(os.getpid(), 9)
S6(home=Path(sys.argv[1])).register_profile_gateway("coder", start=True)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with svscan(tmp_path) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    (place / "profiles").mkdir(parents=True, mode=0o700)
    place.chmod(0o700)
    return place


@pytest.fixture
def manager(tree: Tree, home: Path) -> S6:
    return S6(tree.scan, home=home, environment=tree.environment)


@pytest.fixture
def daemon(tree: Tree, home: Path) -> Iterator[Daemon]:
    """hermesd over that home, not started; whatever it registers goes with the tree."""
    found = Daemon(home, dict(tree.environment))
    yield found
    found.kill()


def coder(home: Path, config: str = OWN, **state: str) -> Daemon:
    """The profile coder, and the way to a daemon of its own."""
    root = home / "profiles" / "coder"
    root.mkdir(mode=0o700)
    (root / "config.yaml").write_text(config)
    if state:
        (root / "gateway_state.json").write_text(json.dumps(state))
        (root / "gateway_state.json").chmod(0o600)
    return Daemon(root)


def desired(child: Daemon) -> str:
    return str(json.loads((child.home / "gateway_state.json").read_text())["desired_state"])


def test_a_profile_of_its_own_is_started_stopped_and_asked_as_any_other(
    tree: Tree, home: Path, daemon: Daemon, manager: S6
) -> None:
    """`gateway start|stop|restart [-p P] [--all]`, `-p P` of other verbs; the main daemon is killed meanwhile."""
    child = coder(home)
    daemon.start()
    assert manager.list_profile_gateways() == ["coder"]
    assert not manager.is_running(SLOT)
    with pytest.raises(RpcFailure, match="a process of its own"):
        daemon.call("chat.send", profile="coder", text="hello")
    started = daemon.ctl("gateway", "start", "-p", "coder")
    assert (started.returncode, started.stdout) == (0, "started: coder\n"), started.stderr
    pid = child.call("rpc.hello")["pid"]
    assert (desired(child), manager.status(SLOT).pid) == ("running", pid)
    answer = daemon.ctl("-p", "coder", "chat", "-q", "hello")
    assert answer.returncode == 0, answer.stderr
    assert child.call("sessions.list")["sessions"]
    assert not daemon.call("sessions.list")["sessions"]
    assert str(pid) in daemon.ctl("-p", "coder", "--json", "status").stdout

    daemon.kill()
    daemon.start()
    assert child.call("rpc.hello")["pid"] == pid, "its own life is its own"

    rows = {row["name"]: row for row in daemon.call("profile.list")["profiles"]}
    assert (rows["coder"]["desired"], rows["coder"]["state"]) == ("running", "running")
    assert daemon.ctl("gateway", "restart", "--all").returncode == 0
    assert child.call("rpc.hello")["pid"] != pid
    assert daemon.ctl("gateway", "stop", "--all").returncode == 0
    assert (desired(child), manager.is_running(SLOT)) == ("stopped", False)
    assert daemon.stop() == 0


def test_changing_isolation_renaming_and_deleting_move_the_slot(
    tree: Tree, home: Path, daemon: Daemon, manager: S6
) -> None:
    """A reload is enough; nothing is left of a slot that is not wanted any more."""
    child = coder(home, "", desired_state="running")
    daemon.start()
    assert manager.list_profile_gateways() == []
    (child.home / "config.yaml").write_text(OWN)
    daemon.call("daemon.reload")
    tree.wait(SLOT, "-U")
    assert child.call("rpc.hello")["pid"]
    assert daemon.ctl("profile", "rename", "coder", "writer").returncode == 0
    assert manager.list_profile_gateways() == ["writer"]
    tree.wait("gateway-writer", "-U")
    (home / "profiles/writer/config.yaml").write_text("")
    daemon.call("daemon.reload")
    assert manager.list_profile_gateways() == []
    assert daemon.ctl("-p", "writer", "chat", "-q", "hello").returncode == 0
    (home / "profiles/writer/config.yaml").write_text(OWN)
    daemon.call("daemon.reload")
    tree.wait("gateway-writer", "-U")
    assert daemon.ctl("profile", "delete", "--yes", "writer").returncode == 0
    assert not (home / "profiles/writer").exists()
    assert not tree.children()
    assert [row.name for row in tree.scan.iterdir()] == [".s6-svscan"]


def unanswered(daemon: Daemon) -> list[dict[str, Any]]:
    """What of the inbox has not come to rest."""
    rows: list[dict[str, Any]] = daemon.call("inbox.list", states=["pending", "running"])["rows"]
    return rows


def interrupt(daemon: Daemon, profile: str) -> None:
    """End the turn that runs, and wait for that."""
    daemon.call("chat.interrupt", profile=profile)
    wait_until(lambda: unanswered(daemon), lambda rows: not rows)


def test_isolation_is_not_changed_while_a_message_is_unanswered(
    tree: Tree, home: Path, daemon: Daemon, manager: S6
) -> None:
    """Its store would stay behind: refused both ways, also after a kill, and done once the message is."""
    child = coder(home, "")
    config = child.home / "config.yaml"
    daemon.start()
    daemon.call("chat.send", profile="coder", text="slow 5000", wait=False)
    config.write_text(OWN)
    (refused,) = daemon.call("daemon.reload")["refused"]
    assert "the main daemon has 1 message not answered" in refused
    assert "hermesctl -p coder inbox" in refused
    daemon.kill()
    daemon.start()
    assert manager.list_profile_gateways() == []
    rows = {row["name"]: row for row in daemon.call("profile.list")["profiles"]}
    assert "1 message not answered" in rows["coder"]["error"]
    assert len(unanswered(daemon)) == 1
    interrupt(daemon, "coder")
    assert daemon.call("daemon.reload")["refused"] == []
    assert manager.list_profile_gateways() == ["coder"]

    assert daemon.ctl("gateway", "start", "-p", "coder").returncode == 0
    child.call("chat.send", text="slow 5000", wait=False)
    config.write_text("")
    for slot in ("up", "down"):
        (refused,) = daemon.call("daemon.reload")["refused"]
        assert "the process of its own has 1 message not answered" in refused
        assert manager.is_running(SLOT) == (slot == "up")
        subprocess.run(["s6-svc", "-wD", "-T", "30000", "-kd", tree.scan / SLOT], check=True)
    daemon.kill()
    manager.unregister_profile_gateway("coder")  # as a new container finds it
    daemon.start()
    tree.wait(SLOT, "-U")  # the key is gone, but the message is in its store; nobody waits for a slot at the start
    interrupt(child, "")
    assert daemon.call("daemon.reload")["refused"] == []
    assert manager.list_profile_gateways() == []
    rows = {row["name"]: row for row in daemon.call("profile.list")["profiles"]}
    assert (rows["coder"]["state"], rows["coder"].get("error", "")) == ("running", ""), "as is desired"
    assert daemon.ctl("-p", "coder", "chat", "-q", "hello").returncode == 0


@pytest.mark.parametrize(("wanted", "slot"), MATRIX)
async def test_at_boot_each_desired_and_last_state_has_its_outcome(
    tree: Tree, home: Path, manager: S6, monkeypatch: pytest.MonkeyPatch, wanted: str, slot: str
) -> None:
    """Slots that are gone come back as desired, those that live are left alone; logs/boot.log tells."""
    for name, value in tree.environment.items():
        monkeypatch.setenv(name, value)
    Home(home).create()
    child = coder(home, desired_state=wanted, gateway_state="running")
    if slot != "none":
        manager.register_profile_gateway("coder", start=slot == "up")
    if slot == "up":
        tree.wait(SLOT, "-U")
        state = json.loads((child.home / "gateway_state.json").read_text())
        (child.home / "gateway_state.json").write_text(json.dumps({**state, "desired_state": wanted}))
    else:
        (child.home / "hermesd.pid").write_text("1\n")
    last = json.loads((child.home / "gateway_state.json").read_text())["gateway_state"]
    pid = manager.status(SLOT).pid if slot == "up" else 0
    profile = Home(home).profile("coder")
    assert await Apart(Home(home)).boot([profile], ["default"]) == {}
    tree.wait(SLOT, "-U" if wanted == "running" else "-D")
    assert tree.stat(SLOT, "wantedup") == str(wanted == "running").lower()
    if slot != "up" and wanted == "stopped":
        assert not (child.home / "hermesd.pid").exists()
    if slot == "up" and wanted == "running":
        assert manager.status(SLOT).pid == pid
    told = (home / "logs/boot.log").read_text()
    assert f"coder: desired {wanted}, last {last}, slot {slot}: {MATRIX[wanted, slot]}" in told  # type: ignore[index]  # a literal type
    assert ("removed hermesd.pid" in told) == (slot != "up")


@pytest.mark.parametrize(
    ("written", "starts"),
    [
        ('{"gateway_state": "running"}', True),
        ('{"gateway_state": "draining"}', True),
        ('{"gateway_state": "degraded"}', True),
        ('{"gateway_state": "stopped"}', False),
        ('{"gateway_state": "starting"}', False),
        ('{"gateway_state": "startup_failed"}', False),
        ('{"desired_state": "stopped", "gateway_state": "running"}', False),
        ('{"desired_state": "running", "gateway_state": "startup_failed"}', True),
        ('{"desired_state": "running", "gateway_state": "stopped"}', True),
        ("{", False),
        ("", False),
    ],
)
async def test_where_nothing_is_desired_the_last_state_decides(
    tree: Tree, home: Path, manager: S6, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str, starts: bool
) -> None:
    """hermes-agent's files have no desired state; one that cannot be read starts nothing."""
    program = tmp_path / "program"
    program.write_text(READY)
    program.chmod(0o755)
    monkeypatch.setenv("HERMES_S6_SCANDIR", str(tree.scan))
    monkeypatch.setattr(sys, "executable", str(program))
    Home(home).create()
    child = coder(home)
    if written:
        (child.home / "gateway_state.json").write_text(written)
        (child.home / "gateway_state.json").chmod(0o600)
    assert await Apart(Home(home)).boot([Home(home).profile("coder")], ["default"]) == {}
    tree.wait(SLOT, "-U" if starts else "-D")
    assert tree.stat(SLOT, "wantedup") == str(starts).lower()


async def test_files_that_the_system_refuses_keep_one_profile_from_starting_and_no_other(
    tree: Tree, home: Path, manager: S6, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is named with the next step, at the start and by every later order."""
    monkeypatch.setenv("HERMES_S6_SCANDIR", str(tree.scan))
    Home(home).create()
    root = coder(home).home
    (root / "hermesd.sock").mkdir()  # which is not to be unlinked, not even by root
    apart, profile = Apart(Home(home)), Home(home).profile("coder")
    failed = await apart.boot([profile], ["default"])
    assert isinstance(failed["coder"], ConfigError)
    assert failed["coder"].where == str(root / "hermesd.sock")
    assert failed["coder"].next_step
    (root / "hermesd.sock").rmdir()
    await apart.add(profile)
    root.rename(home / "profiles" / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be used: No such file"):
        await apart.stop("coder")


async def test_a_slot_that_cannot_be_removed_keeps_nothing_from_starting(
    tree: Tree, home: Path, manager: S6, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its profile is gone; logs/boot.log says that it stays."""
    monkeypatch.setenv("HERMES_S6_SCANDIR", str(tree.scan))
    Home(home).create()
    coder(home, desired_state="stopped")
    manager.register_profile_gateway("gone")
    with monkeypatch.context() as broken:
        broken.setattr(s6_scandir, "retire", _refuse)
        assert await Apart(Home(home)).boot([Home(home).profile("coder")], ["default"]) == {}
    assert manager.list_profile_gateways() == ["coder", "gone"]
    assert "stay until the next start: no" in (home / "logs/boot.log").read_text()


def _refuse(*_: object, **__: object) -> None:
    raise ServiceCommandError("no")


async def test_what_a_crash_has_half_made_is_never_started_and_is_swept(
    tree: Tree, home: Path, manager: S6, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between staging and publishing: s6-svscan passes it over, the next boot removes it."""
    for name, value in tree.environment.items():
        monkeypatch.setenv(name, value)
    Home(home).create()
    child = coder(home, desired_state="stopped")
    done = subprocess.run([sys.executable, "-c", KILLED_BEFORE_RENAME, str(home)], env=tree.environment, check=False)
    assert done.returncode == -9
    (left,) = [row for row in tree.scan.iterdir() if row.name != ".s6-svscan"]
    assert (left / "run").exists()
    manager.register_profile_gateway("other")
    assert len(tree.children()) == 2, "the supervisors of other and of its log"
    assert not (left / "supervise").exists()
    await Apart(Home(home)).boot([Home(home).profile("coder")], ["default"])
    assert not left.exists()
    assert manager.list_profile_gateways() == ["coder"]
    assert not (child.home / "hermesd.sock").exists()


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.long)])
def test_slots_come_and_go_without_a_trace(tree: Tree, manager: S6, count: int) -> None:
    """No process, no zombie, no file."""
    for number in range(count):
        manager.register_profile_gateway(f"agent{number % 3}")
        manager.unregister_profile_gateway(f"agent{number % 3}")
    assert not tree.children()
    assert [row.name for row in tree.scan.iterdir()] == [".s6-svscan"]

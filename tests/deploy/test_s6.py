"""hermesd and single profiles under a real s6-svscan that belongs to this user."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hermesd.deploy import s6_slot
from hermesd.deploy.manager import Installation, NotInstalledError, ServiceCommandError, detect_service_manager
from hermesd.deploy.s6 import S6
from hermesd.deploy.s6_slot import slot_log
from hermesd.errors import ConfigError, ConflictError
from tests.servers.daemon import Daemon
from tests.servers.s6 import Tree, svscan

NOBODY = 65534
READY = "#!/bin/sh\necho >&3\nexec 3>&-\nexec sleep 1000\n"
SLOT = "gateway-coder"


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with svscan(tmp_path) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with the profile coder, to be a home of its own."""
    place = tmp_path / "home"
    (place / "profiles" / "coder").mkdir(parents=True, mode=0o700)
    for directory in (place, place / "profiles"):
        directory.chmod(0o700)
    return place


@pytest.fixture
def manager(tree: Tree, home: Path) -> S6:
    return S6(tree.scan, home=home, environment=tree.environment)


@pytest.fixture
def installation(home: Path, tmp_path: Path) -> Installation:
    program = tmp_path / "hermesd"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m hermesd "$@"\n')
    program.chmod(0o755)
    return Installation("user", str(program), "hermesctl", home, home / "hermesd.sock")


def test_installed_it_is_ready_and_comes_back_after_a_kill(
    tree: Tree, manager: S6, installation: Installation, home: Path
) -> None:
    """`service install` makes the directory; readiness is hermesd's own word; SIGKILL is answered by a new start."""
    assert manager.install(installation) == [f"made {tree.scan / 'hermesd'}", "hermesd runs"]
    assert manager.install(installation) == ["nothing to do: it is installed and runs"]
    daemon = Daemon(home)
    first = manager.status()
    assert (first.running, first.state, first.enabled) == (True, "ready", True)
    assert daemon.call("rpc.hello")["pid"] == first.pid
    tree.after("hermesd", "U", "kill", "-KILL", str(first.pid))
    assert daemon.call("rpc.hello")["pid"] == manager.status().pid != first.pid
    manager.restart()
    assert daemon.call("rpc.hello")["pid"] == manager.status().pid
    manager.stop()
    assert manager.status().state == "down"
    assert not manager.is_running()
    assert manager.uninstall() == [f"removed {tree.scan / 'hermesd'}"]
    assert not tree.children()
    with pytest.raises(NotInstalledError):
        manager.status()


def test_a_wrong_configuration_stays_down_and_the_start_says_so_at_once(
    tree: Tree, manager: S6, installation: Installation, home: Path
) -> None:
    """Status 78 becomes 125; what hermesd printed is in the log that the error names."""
    (home / "config.yaml").write_text("agnet: {}\n")
    with pytest.raises(ServiceCommandError) as caught:
        manager.install(installation)
    assert "s6-svc" in caught.value.what
    assert tree.stat("hermesd", "up,wantedup,exitcode") == "false false 78"
    deaths = subprocess.run(["s6-svdt", str(tree.scan / "hermesd")], capture_output=True, text=True, check=True).stdout
    assert len(deaths.splitlines()) == 1
    log = home / "logs/daemon/current"
    assert str(log) in caught.value.next_step
    assert (
        "agnet"
        in subprocess.run(manager.log_command(lines=5, follow=False), capture_output=True, text=True, check=True).stdout
    )
    (home / "config.yaml").write_text("")
    assert manager.start() == ["hermesd runs"]


def test_a_slot_runs_a_hermesd_of_the_profile_and_goes_without_a_trace(tree: Tree, manager: S6, home: Path) -> None:
    """Registered down; started, logged, killed, stopped, removed; the daemon's home is the profile's directory."""
    assert manager.supports_runtime_registration()
    manager.register_profile_gateway("coder", extra_env={"LANG": "C", "NOTE": "two\nlines"})
    assert manager.list_profile_gateways() == ["coder"]
    assert not manager.is_running("gateway-coder")
    with pytest.raises(ConflictError):
        manager.register_profile_gateway("coder")
    assert manager.start("gateway-coder") == ["gateway-coder runs"]
    child = Daemon(home / "profiles" / "coder")
    pid = child.call("rpc.hello")["pid"]
    assert pid == manager.status("gateway-coder").pid
    assert b"NOTE=two\nlines\0" in Path(f"/proc/{pid}/environ").read_bytes()
    assert "two" not in Path(f"/proc/{pid}/cmdline").read_text()
    tree.after("gateway-coder", "U", "kill", "-KILL", str(pid))
    manager.stop("gateway-coder")
    assert not manager.status("gateway-coder").enabled
    assert not (child.home / "hermesd.pid").exists()
    assert (slot_log(home, "coder") / "current").is_file()
    manager.unregister_profile_gateway("coder")
    assert manager.list_profile_gateways() == []
    assert not tree.children()
    assert [row.name for row in tree.scan.iterdir()] == [".s6-svscan"]
    manager.unregister_profile_gateway("coder")
    with pytest.raises(NotInstalledError, match="'coder' is not registered"):
        manager.start("gateway-coder")


def test_a_stop_by_a_client_lasts_and_a_restart_by_a_signal_does_not_end_it(
    manager: S6, installation: Installation, home: Path, tree: Tree
) -> None:
    """`hermesctl stop` holds until `hermesctl service start`; after `s6-svc -r`, a signal, it is there again."""
    manager.install(installation)
    daemon = Daemon(home, {"HERMES_S6_SCANDIR": str(tree.scan)})
    pid = manager.status().pid
    subprocess.run(["s6-svc", "-wR", "-T", "30000", "-r", tree.scan / "hermesd"], check=True)
    assert manager.status().pid not in (0, pid)
    assert daemon.ctl("stop").returncode == 0
    tree.wait("hermesd", "-D")
    assert tree.stat("hermesd", "up,wantedup,exitcode") == "false false 100"
    assert daemon.ctl("service", "start").stdout == "hermesd runs\n"
    assert manager.is_running()


def test_what_ends_again_and_again_stays_down_and_the_start_says_so(
    tree: Tree, manager: S6, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a systemd unit's StartLimit; here after three ends."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(s6_slot, "FINISH", s6_slot.FINISH.replace(" 300 10 ", " 300 3 "))
    assert " 300 3 " in s6_slot.FINISH
    manager.register_profile_gateway("coder")
    with pytest.raises(ServiceCommandError) as caught:
        manager.start(SLOT)
    assert "Permanent failure" in caught.value.what or "permanent" in caught.value.what
    assert str(slot_log(manager.home, "coder") / "current") in caught.value.next_step
    assert tree.stat(SLOT, "up,wantedup,exitcode") == "false false 1"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_user_without_rights_controls_an_s6_of_its_own_and_none_of_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the daemon writes, s6-svscan runs: under root's that would make root of whoever may write there."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "ready").write_text(READY)
        (place / "ready").chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(place / "ready"))
        (place / "home").mkdir()
        os.chown(place / "home", NOBODY, -1)
        (place / "roots").mkdir()
        with svscan(place, uid=NOBODY) as own, svscan(place / "roots") as tree:
            tree.scan.chmod(0o777)
            assert detect_service_manager(environment=own.environment) == "s6"

            def work() -> None:
                mine = S6(own.scan, home=place / "home", environment=own.environment)
                mine.register_profile_gateway("coder")
                mine.start(SLOT)
                mine.restart(SLOT)
                assert Path(f"/proc/{mine.status(SLOT).pid}").stat().st_uid == NOBODY
                mine.stop(SLOT)
                mine.unregister_profile_gateway("coder")
                roots = S6(tree.scan, home=place / "home", environment=own.environment)
                assert not roots.supports_runtime_registration()
                with pytest.raises(ConfigError, match="no s6-svscan of this user"):
                    roots.register_profile_gateway("coder")

            as_nobody(work)
            assert not own.children()


def as_nobody(work: Callable[[], None]) -> None:
    """In a process without rights, but with all that is loaded: the interpreter may lie where only root gets to."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.chdir("/")
            work()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "see its traceback above"


def test_a_directory_that_hermesd_has_not_made_is_left_alone(
    tree: Tree, manager: S6, installation: Installation
) -> None:
    """An image's, say: it is controlled, but neither changed nor removed."""
    there = tree.scan / "hermesd"
    there.mkdir()
    (there / "run").write_text("#!/bin/sh\nexec sleep 1000\n")
    (there / "run").chmod(0o755)
    for act in (lambda: manager.install(installation), manager.uninstall):
        with pytest.raises(ConfigError, match="none that hermesd has made"):
            act()
    with pytest.raises(ConfigError, match="no s6-supervise looks after it") as caught:
        manager.start()
    assert "s6-svscanctl -a" in caught.value.next_step
    assert (there / "run").exists()

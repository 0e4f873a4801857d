"""hermesd under a real systemd: what `hermesctl service` installs, and what becomes of it when things go wrong."""

from __future__ import annotations

import os
import select
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.rpc_load import Load, call, connected, processed
from tests.servers.nspawn import Machine, machine

pytestmark = pytest.mark.systemd

HOME = "/home/ada/.hermes"
RESTARTS = int(os.environ.get("HERMESD_RESTARTS", "20"))
IMPATIENT = "[Service]\nWatchdogSec=3\nRestartSec=0\n"


@pytest.fixture(scope="module")
def vm() -> Iterator[Machine]:
    """A booted machine with ada's manager up."""
    with machine() as found:
        found.systemctl("start", "user@1000.service")
        yield found


@pytest.fixture
def ada(vm: Machine) -> Iterator[Path]:
    """hermesd, installed as a service of ada's with two profiles; the socket as seen from here."""
    home = vm.path(HOME)
    vm.run("mkdir", "-p", "-m700", HOME, f"{HOME}/profiles/coder", user="ada")
    vm.run(
        "sh",
        "-c",
        f"echo 'agent: {{busy: queue}}' | tee {HOME}/config.yaml {HOME}/profiles/coder/config.yaml",
        user="ada",
    )
    vm.run("chmod", "700", f"{HOME}/profiles", f"{HOME}/profiles/coder", user="ada")
    vm.run("hermesctl", "service", "install", user="ada")
    yield home / "hermesd.sock"
    vm.run("hermesctl", "service", "uninstall", "--force", user="ada", check=False)
    vm.run("rm", "-r", HOME, "/home/ada/.config/systemd", user="ada", check=False)


def ended(vm: Machine, inside: int) -> None:
    """Wait until the machine's process of this id has gone."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:
            continue
        ids = next((line.split()[1:] for line in lines if line.startswith("NSpid:")), [])
        if len(ids) > 1 and ids[-1] == str(inside) and _is_below(int(ids[0]), vm.leader):
            fd = os.pidfd_open(int(ids[0]))
            try:
                assert select.select([fd], [], [], 60)[0], "it goes on"
            finally:
                os.close(fd)
            return


def _is_below(pid: int, leader: int) -> bool:
    return Path(f"/proc/{pid}/ns/pid").readlink() == Path(f"/proc/{leader}/ns/pid").readlink()


def hello(path: Path) -> int:
    """The daemon's process id, as it tells itself; waits for a daemon that comes up."""
    return int(call(path, "rpc.hello")["pid"])


def test_installed_it_is_active_and_comes_back_after_a_kill_with_its_profiles_and_messages(
    vm: Machine, ada: Path
) -> None:
    """Type=notify; SIGKILL; the next client waits in the socket; what was accepted is there."""
    assert vm.shown("Type", user="ada") == "notify"
    assert vm.shown("ActiveState", user="ada") == "active"
    assert vm.shown("StatusText", user="ada") == "ready, 2 profiles"
    first = hello(ada)
    assert vm.shown("MainPID", user="ada") == str(first)
    answer = call(ada, "chat.send", text="hello", delivery_id="before", quiet=True)
    accepted = call(ada, "chat.send", text="go on", delivery_id="at", wait=False, quiet=True)
    vm.systemctl("kill", "--kill-whom=main", "--signal=KILL", "hermesd.service", user="ada")
    again = call(ada, "chat.send", text="hello", delivery_id="before", quiet=True)
    assert again["duplicate"]
    assert again["text"] == answer["text"]
    assert call(ada, "chat.send", text="go on", delivery_id="at", quiet=True)["inbox_id"] == accepted["inbox_id"]
    assert hello(ada) != first
    assert [row["name"] for row in call(ada, "profile.list")["profiles"]] == ["default", "coder"]
    assert vm.shown("NRestarts", user="ada") == "1"


def test_a_wedged_loop_is_ended_by_the_watchdog_and_started_again(vm: Machine, ada: Path) -> None:
    """SIGSTOP: no sign of life for WatchdogSec, so systemd aborts it; the stack is in the journal."""
    vm.run("mkdir", "-p", "/home/ada/.config/systemd/user/hermesd.service.d", user="ada")
    drop_in = "/home/ada/.config/systemd/user/hermesd.service.d/impatient.conf"
    vm.run("sh", "-c", f"printf '{IMPATIENT}' > {drop_in}", user="ada")
    vm.systemctl("daemon-reload", user="ada")
    vm.run("hermesctl", "service", "restart", user="ada")
    first = hello(ada)
    vm.systemctl("kill", "--kill-whom=main", "--signal=STOP", "hermesd.service", user="ada")
    assert hello(ada) != first
    journal = vm.run("journalctl", "--no-pager", "_SYSTEMD_USER_UNIT=hermesd.service", "+", "USER_UNIT=hermesd.service")
    assert "Watchdog timeout" in journal.stdout
    assert "Current thread" in journal.stdout


def test_a_reload_is_done_when_systemctl_says_so_and_a_wrong_configuration_is_its_failure(
    vm: Machine, ada: Path
) -> None:
    """ExecReload asks the daemon and waits; SIGHUP says RELOADING and READY."""
    first = hello(ada)
    vm.run("sh", "-c", f"echo 'agent: {{max_turns: 7}}' > {HOME}/config.yaml", user="ada")
    vm.systemctl("reload", "hermesd", user="ada")
    assert call(ada, "config.show", key="agent.max_turns")["value"] == 7
    vm.run("sh", "-c", f"echo 'agent: {{max_turns: -' > {HOME}/config.yaml", user="ada")
    assert vm.run("systemctl", "--user", "reload", "hermesd", user="ada", check=False).returncode != 0
    assert hello(ada) == first
    assert vm.shown("ActiveState", user="ada") == "active"


def test_the_first_client_of_a_socket_waits_and_is_answered(vm: Machine, ada: Path) -> None:
    """Nothing runs; the socket unit starts the daemon for whoever connects."""
    vm.run("hermesctl", "service", "stop", user="ada")
    assert not ada.exists()
    vm.systemctl("start", "hermesd.socket", user="ada")
    assert vm.shown("ActiveState", user="ada") == "inactive"
    with connected(ada) as wire:
        assert wire.call("rpc.hello")["pid"] > 0
    assert vm.shown("ActiveState", user="ada") == "active"


def test_restarts_under_load_refuse_lose_and_repeat_nothing(vm: Machine, ada: Path, tmp_path: Path) -> None:
    """Four clients, a connection for each message, while the service is restarted again and again."""
    load = Load(ada)
    with load.running():
        vm.run("hermesctl", "service", "restart", user="ada")
        for _ in range(RESTARTS - 1):
            vm.systemctl("reset-failed", "hermesd.service", user="ada")  # as hermesctl does: they are no crash loop
            vm.systemctl("restart", "hermesd.service", user="ada")
    vm.run("hermesctl", "service", "stop", user="ada")
    inbox, said = processed(Path(shutil.copy(ada.with_name("state.db"), tmp_path)))
    print(f"{RESTARTS} restarts, {len(load.answered)} messages, {load.repeated} sent again")
    assert load.refused == []
    assert load.failed == []
    assert set(inbox) == set(load.answered)
    assert set(inbox.values()) == {1}
    assert set(said.values()) == {1}
    assert len(load.answered) >= RESTARTS


def test_a_stop_is_in_time_and_uninstalling_leaves_only_the_home(vm: Machine, ada: Path) -> None:
    """The units and the socket are gone, state.db stays."""
    process = hello(ada)
    vm.run("hermesctl", "service", "stop", user="ada", timeout_s=30)
    assert vm.shown("Result", user="ada") == "success"
    ended(vm, process)
    assert vm.run("hermesctl", "status", user="ada", check=False).returncode == 69
    vm.run("hermesctl", "service", "start", user="ada")
    assert "removed" in vm.run("hermesctl", "service", "uninstall", user="ada").stdout
    assert vm.shown("LoadState", user="ada") == "not-found"
    assert not ada.exists()
    assert ada.with_name("state.db").exists()
    assert vm.run("hermesctl", "service", "status", user="ada", check=False).returncode == 1

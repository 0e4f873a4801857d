"""hermesd under a real systemd: what `hermesctl service` installs, and what becomes of it when things go wrong."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import sqlite3
import unittest
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermesd.store.sqlite.schema import MIGRATIONS
from tests.deploy.rpc_load import Load, call, connected, processed
from tests.servers import earlier_release, wedges
from tests.servers.nspawn import Machine, machine

pytestmark = pytest.mark.systemd

HOME = "/home/ada/.hermes"
UNITS = "/home/ada/.config/systemd/user"
ALLOWED = "policy: {unsafe: allow, tools: {terminal: allow}}\n"
CONFIG = "agent: {busy: queue}\n"

RESTARTS = int(os.environ.get("HERMESD_RESTARTS", "20"))
IMPATIENT = "[Service]\nWatchdogSec=2\nRestartSec=0\nEnvironment=HERMESD_CODE=/opt/wedged:/opt/code\n"
CONTAINER = "backend=docker\ncontainer_name=elsewhere\nexec_user=hermes\nhermes_bin=/usr/bin/hermesctl\n"
PLAIN = """\
[Service]
Type=notify
Environment=HERMES_HOME=/home/ada/.plain
ExecStart=/usr/local/bin/hermesd
Restart=on-failure
RestartSec=0
RestartPreventExitStatus=78
FileDescriptorStoreMax=8
"""


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An earlier release, with schema 1; an empty directory where it cannot be had."""
    try:
        return earlier_release.installed()
    except unittest.SkipTest:
        return tmp_path_factory.mktemp("before")


@pytest.fixture(scope="module")
def wedged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What goes in front of the code of a daemon that is to stand still: USR2, or a pipe in the home."""
    place = tmp_path_factory.mktemp("wedged")
    (place / "sitecustomize.py").write_text(f"{wedges.LOOP}\n{wedges.store(f'{HOME}/hang')}")
    for directory in (place, place.parent):
        directory.chmod(0o755)
    return place


@pytest.fixture(scope="module")
def vm(before: Path, wedged: Path) -> Iterator[Machine]:
    """A booted machine with ada's manager up, the release before in /opt/before, faults in /opt/wedged."""
    with machine(f"{before}:/opt/before", f"{wedged}:/opt/wedged") as found:
        found.systemctl("start", "user@1000.service")
        yield found


@pytest.fixture(scope="module")
def installed(vm: Machine) -> None:
    """hermesd, installed as a service of ada's with two profiles."""
    vm.run("mkdir", "-p", "-m700", HOME, f"{HOME}/profiles", f"{HOME}/profiles/coder", user="ada")
    for place in (HOME, f"{HOME}/profiles/coder"):
        put(vm, f"{place}/config.yaml", CONFIG, user="ada")
    vm.run("hermesctl", "service", "install", user="ada")


@pytest.fixture
def ada(vm: Machine, installed: None) -> Iterator[Path]:
    """Her service, running as it was installed; its socket as seen from here."""
    vm.systemctl("start", "hermesd.service", user="ada")
    yield vm.path(HOME) / "hermesd.sock"
    put(vm, f"{HOME}/config.yaml", CONFIG, user="ada")
    vm.run("rm", "-rf", f"{UNITS}/hermesd.service.d", user="ada")
    vm.systemctl("daemon-reload", user="ada")
    vm.systemctl("reset-failed", user="ada")


def put(vm: Machine, path: str, text: str, *, user: str = "") -> None:
    """Write a file of the machine as one of its users."""
    vm.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1"', "sh", path, text, user=user)


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
    assert vm.shown("WatchdogUSec", user="ada") == "30s"
    first = hello(ada)
    assert vm.shown("MainPID", user="ada") == str(first)
    found = json.loads(vm.run("hermesctl", "--json", "service", "status", user="ada").stdout)
    assert (found["running"], found["enabled"], found["pid"]) == (True, True, first)
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


def impatient(vm: Machine, ada: Path) -> int:
    """Restart her daemon with a short watchdog, and faults that can be turned on; its process id."""
    put(vm, f"{UNITS}/hermesd.service.d/impatient.conf", IMPATIENT, user="ada")
    vm.systemctl("daemon-reload", user="ada")
    vm.run("hermesctl", "service", "restart", user="ada")
    return hello(ada)


def journal_since(vm: Machine, cursor: str) -> str:
    """What the journal has of the service since then: its own words and its manager's."""
    unit = ("_SYSTEMD_USER_UNIT=hermesd.service", "+", "USER_UNIT=hermesd.service")
    return vm.run("journalctl", "--no-pager", f"--after-cursor={cursor}", *unit).stdout


def cursor_of(vm: Machine) -> str:
    """Where the journal ends now."""
    return vm.run("journalctl", "--no-pager", "--lines=0", "--show-cursor").stdout.partition("cursor: ")[2].strip()


@pytest.mark.parametrize(("number", "stack"), [("STOP", "Current thread"), ("USR2", "sitecustomize.py")])
def test_a_wedged_loop_is_ended_by_the_watchdog_and_started_again(
    vm: Machine, ada: Path, number: str, stack: str
) -> None:
    """A process that is stopped, and one whose other threads go on: aborted after WatchdogSec, its stack is kept."""
    first = impatient(vm, ada)
    since = cursor_of(vm)
    answer = call(ada, "chat.send", text="hello", delivery_id=f"before-{number}", quiet=True)
    vm.systemctl("kill", "--kill-whom=main", f"--signal={number}", "hermesd.service", user="ada")
    ended(vm, first)
    assert hello(ada) != first
    again = call(ada, "chat.send", text="hello", delivery_id=f"before-{number}", quiet=True)
    assert (again["duplicate"], again["text"]) == (True, answer["text"])
    journal = journal_since(vm, since)
    assert "Watchdog timeout" in journal
    assert stack in journal


def test_a_store_that_hangs_is_ended_by_the_watchdog_though_the_loop_turns(vm: Machine, ada: Path) -> None:
    """A commit that does not return: no sign of life either; the next process commits again."""
    first = impatient(vm, ada)
    since = cursor_of(vm)
    call(ada, "chat.send", text="slow 40", quiet=True)
    assert hello(ada) == first  # alive for longer than WatchdogSec, it was let alone
    with connected(ada) as log:
        log.send("logs.follow", lines=0)
        vm.run("mkfifo", f"{HOME}/hang", user="ada")
        while "no sign of life" not in log.until("logs.line")["line"]:
            pass
    assert hello(ada) == first  # the loop turns
    vm.run("rm", f"{HOME}/hang", user="ada")  # it hangs all the same: the pipe is open
    ended(vm, first)
    assert hello(ada) != first
    assert call(ada, "chat.send", text="hello", quiet=True)["state"] == "done"
    assert "Watchdog timeout" in journal_since(vm, since)


def test_a_reload_is_done_when_systemctl_says_so_and_a_wrong_configuration_is_its_failure(
    vm: Machine, ada: Path
) -> None:
    """ExecReload asks the daemon and waits; SIGHUP says RELOADING and READY."""
    first = hello(ada)
    put(vm, f"{HOME}/config.yaml", "agent: {max_turns: 7}", user="ada")
    vm.systemctl("reload", "hermesd", user="ada")
    assert call(ada, "config.show", key="agent.max_turns")["value"] == 7
    put(vm, f"{HOME}/config.yaml", "agent: {max_turns: -", user="ada")
    assert vm.run("systemctl", "--user", "reload", "hermesd", user="ada", check=False).returncode != 0
    assert hello(ada) == first
    assert vm.shown("ActiveState", user="ada") == "active"


def test_a_reload_means_the_units_own_daemon_also_where_calls_go_into_a_container(vm: Machine, ada: Path) -> None:
    """A .container-mode takes a call from a shell elsewhere, and ExecReload= not."""
    put(vm, f"{HOME}/.container-mode", CONTAINER, user="ada")
    try:
        assert vm.run("hermesctl", "reload", user="ada", check=False).returncode == 69  # there is no docker here
        put(vm, f"{HOME}/config.yaml", "agent: {max_turns: 8}", user="ada")
        vm.systemctl("reload", "hermesd", user="ada")
        assert call(ada, "config.show", key="agent.max_turns")["value"] == 8
    finally:
        vm.run("rm", f"{HOME}/.container-mode", user="ada")


def test_stopping_the_daemon_lasts_until_the_next_client_and_stopping_the_service_lasts(vm: Machine, ada: Path) -> None:
    """hermesctl stop says so; hermesctl service stop takes the socket down, too."""
    first = hello(ada)
    done = vm.run("hermesctl", "stop", user="ada")
    assert done.stdout == "hermesd has stopped\n"
    assert "hermesd.socket still listens" in done.stderr
    assert "→ to keep it down: hermesctl service stop\n" in done.stderr
    assert json.loads(vm.run("hermesctl", "--json", "stop", user="ada").stdout)["socket_unit"] == "hermesd.socket"
    assert hello(ada) != first
    vm.run("hermesctl", "service", "stop", user="ada")
    assert [vm.shown("ActiveState", unit, user="ada") for unit in ("hermesd.socket", "hermesd.service")] == [
        "inactive",
        "inactive",
    ]
    assert vm.run("hermesctl", "status", user="ada", check=False).returncode == 69
    assert vm.shown("ActiveState", user="ada") == "inactive"


def test_the_users_own_service_has_the_sandbox_that_an_unprivileged_manager_can_give(vm: Machine, ada: Path) -> None:
    """And what agents need is there: files, the names of their owners, groups, other programs."""
    exposure = exposed(vm, user="ada")
    print("exposure of the user's service", exposure)
    assert exposure <= 6.0
    put(vm, f"{HOME}/config.yaml", ALLOWED, user="ada")
    vm.systemctl("reload", "hermesd", user="ada")

    def tried(command: str) -> str:
        return str(call(ada, "chat.send", text=f"$ {command}", quiet=True, new=True)["text"])

    assert "root:ada" in tried("echo $(stat -c %U /etc/passwd):$(stat -c %U ~)")
    assert "mine" in tried("touch ~/x && chgrp ada ~/x && nice -n 5 cat ~/x && rm ~/x && echo mine")
    assert "unshare failed" in tried("unshare --user true")
    pid = vm.shown("MainPID", user="ada")
    status = dict(line.split(":\t", 1) for line in vm.path(f"/proc/{pid}/status").read_text().splitlines())
    assert (int(status["CapPrm"], 16), status["NoNewPrivs"], status["Seccomp"]) == (0, "1", "2")


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


def test_an_idle_client_keeps_its_connection_over_a_restart(vm: Machine, ada: Path) -> None:
    """The descriptor store holds it meanwhile; after a stop it sees the end."""
    with connected(ada) as wire:
        first = wire.call("rpc.hello")["pid"]
        vm.run("hermesctl", "service", "restart", user="ada")
        second = wire.call("rpc.hello")["pid"]
        assert second != first
        assert str(second) == vm.shown("MainPID", user="ada")
        vm.run("hermesctl", "service", "stop", user="ada")
        with pytest.raises(ConnectionError):
            wire.call("rpc.hello")


def test_an_update_and_the_way_back_under_load_refuse_lose_and_repeat_nothing(
    vm: Machine, ada: Path, before: Path, tmp_path: Path
) -> None:
    """The release before, this one, which migrates the file, and the release before again."""
    if not (before / "hermesd").is_dir():
        earlier_release.installed()  # says why
    vm.run("hermesctl", "service", "stop", user="ada")
    vm.run("sh", "-c", f"rm {HOME}/state.db*", user="ada")
    drop_in = f"{UNITS}/hermesd.service.d/release.conf"
    use = {"before": "[Service]\nEnvironment=HERMESD_CODE=/opt/before\n", "this": "[Service]\n"}

    def restart(release: str) -> None:
        put(vm, drop_in, use[release], user="ada")
        vm.systemctl("daemon-reload", user="ada")
        vm.run("hermesctl", "service", "restart", user="ada")

    def schema() -> int:
        with contextlib.closing(sqlite3.connect(shutil.copy(ada.with_name("state.db"), tmp_path))) as db:
            return int(db.execute("PRAGMA user_version").fetchone()[0])

    restart("before")
    assert schema() == 1
    load = Load(ada)
    with load.running():
        for release in ("this", "before", "this"):
            restart(release)
            assert call(ada, "rpc.hello")
    assert (load.refused, load.failed) == ([], [])
    vm.run("hermesctl", "service", "stop", user="ada")
    assert schema() == MIGRATIONS[-1].version
    inbox, said = processed(tmp_path / "state.db")
    assert set(inbox) == set(load.answered)
    assert set(inbox.values()) | set(said.values()) == {1}


def test_without_a_socket_unit_the_listener_is_kept_over_restarts_and_crashes(vm: Machine, tmp_path: Path) -> None:
    """In the descriptor store of the service: nobody is refused either; after a real stop everybody is."""
    put(vm, "/home/ada/.plain/config.yaml", "agent: {busy: queue}\n", user="ada")
    put(vm, f"{UNITS}/plain.service", PLAIN, user="ada")
    vm.systemctl("daemon-reload", user="ada")
    vm.systemctl("start", "plain.service", user="ada")
    path = vm.path("/home/ada/.plain/hermesd.sock")
    load = Load(path, clients=2)
    with load.running():
        for number in range(4):
            if number % 2:
                vm.systemctl("restart", "plain.service", user="ada")
            else:
                vm.systemctl("kill", "--kill-whom=main", "--signal=KILL", "plain.service", user="ada")
                hello(path)
    assert (load.refused, load.failed) == ([], [])
    vm.systemctl("stop", "plain.service", user="ada")
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        hello(path)
    inbox, said = processed(Path(shutil.copy(path.with_name("state.db"), tmp_path)))
    assert set(inbox) == set(load.answered)
    assert set(inbox.values()) | set(said.values()) == {1}
    vm.systemctl("start", "plain.service", user="ada")
    assert hello(path)
    vm.systemctl("stop", "plain.service", user="ada")


def test_a_wrong_configuration_ends_with_78_and_is_not_started_again(vm: Machine, ada: Path) -> None:
    """Until it is mended and somebody says so."""
    vm.run("hermesctl", "service", "stop", user="ada")
    put(vm, f"{HOME}/config.yaml", "agent: {max_turns: -", user="ada")
    done = vm.run("hermesctl", "service", "start", user="ada", check=False)
    assert done.returncode == 1
    assert "service logs" in done.stderr
    assert vm.shown("ExecMainStatus", user="ada") == "78"
    assert vm.shown("ActiveState", user="ada") == "failed"
    assert vm.shown("NRestarts", user="ada") == "0"
    assert "config.yaml" in vm.run("hermesctl", "service", "logs", user="ada").stdout
    put(vm, f"{HOME}/config.yaml", "{}", user="ada")
    vm.run("hermesctl", "service", "start", user="ada")
    assert hello(ada)


def exposed(vm: Machine, user: str = "") -> float:
    """What systemd-analyze says of the unit that runs."""
    scope = ["--user"] if user else []
    said = vm.run("systemd-analyze", *scope, "security", "--no-pager", "hermesd.service", user=user).stdout
    found = re.search(r"exposure level for hermesd.service: ([0-9.]+)", said)
    assert found, said
    return float(found[1])


@pytest.fixture
def bob(vm: Machine) -> Iterator[str]:
    """A system service that runs as bob, in a home with an awkward name; its path."""
    home = "/home/bob/100%h of 'his $HOME"
    vm.run("hermesctl", "service", "install", "--system", "--run-as", "bob", HERMES_HOME=home)
    yield home
    vm.run("hermesctl", "service", "uninstall", "--force", check=False)
    vm.run("rm", "-rf", home)


def test_a_system_service_runs_as_its_user_and_sees_its_home_only(vm: Machine, bob: str) -> None:
    """Exposure ≤ 2.0 while it runs; bob and root get in, ada does not; what is not his is hidden or read-only."""
    assert vm.run("hermesctl", "rpc", "call", "rpc.hello", user="bob", HERMES_HOME=bob).returncode == 0
    assert vm.run("hermesctl", "status", HERMES_HOME=bob).returncode == 0
    path = vm.path("/run/hermesd/hermesd.sock")
    assert (path.stat().st_uid, oct(path.stat().st_mode & 0o777)) == (1001, "0o600")
    exposure = exposed(vm)
    print("exposure of the system's service", exposure)
    assert exposure <= 2.0
    vm.run(
        "sh",
        "-c",
        'printf %s "$1" > "$HERMES_HOME/config.yaml"',
        "sh",
        ALLOWED,
        user="bob",
        HERMES_HOME=bob,
    )
    vm.systemctl("reload", "hermesd")
    tried = "id -un; ls /home; touch /usr/x; touch /home/bob/x; touch ~/y && echo mine"
    said = call(path, "chat.send", text=f"$ {tried}", quiet=True)["text"]
    assert "bob" in said
    assert "ada" not in said
    assert "mine" in said
    assert "Read-only file system" in said
    assert vm.path(f"{bob}/y").exists()
    assert not vm.path("/home/bob/x").exists()
    stopped = vm.run("hermesctl", "stop", user="bob", HERMES_HOME=bob).stderr
    assert stopped.endswith("→ to keep it down: sudo hermesctl service stop --system\n")


def test_a_planted_link_in_the_home_gains_nothing_from_root(vm: Machine, bob: str) -> None:
    """root's manager makes the socket where only root may write, and replaces what lies in the home."""
    victim = "/etc/hostname"
    before = vm.path(victim).stat()
    vm.run("hermesctl", "service", "stop")
    vm.run("ln", "-sfn", victim, f"{bob}/hermesd.sock", user="bob")
    vm.run("hermesctl", "service", "start")
    after = vm.path(victim).stat()
    assert (after.st_uid, after.st_mode, after.st_mtime) == (before.st_uid, before.st_mode, before.st_mtime)
    assert vm.run("hermesctl", "status", user="bob", HERMES_HOME=bob).returncode == 0


def test_a_stop_is_in_time_and_uninstalling_leaves_only_the_home(vm: Machine, ada: Path) -> None:
    """A turn that would go on for minutes goes on afterwards; the units and the socket are gone, state.db stays."""
    put(vm, f"{HOME}/config.yaml", "shutdown: {drain_s: 1}", user="ada")
    vm.systemctl("reload", "hermesd", user="ada")
    process = hello(ada)
    with connected(ada) as wire:
        wire.send("chat.send", text="slow 3000", delivery_id="long")
        wire.until("chat.update", kind="text")
        vm.run("hermesctl", "service", "stop", user="ada", timeout_s=30)
    assert vm.shown("Result", user="ada") == "success"
    ended(vm, process)
    done = vm.run("hermesctl", "status", user="ada", check=False)
    assert done.returncode == 69
    assert done.stderr.endswith("→ start it: hermesctl service start\n")
    vm.run("hermesctl", "service", "start", user="ada")
    assert [item["kind"] for item in call(ada, "daemon.unfinished")["work"]] == ["turn"]
    assert "removed" in vm.run("hermesctl", "service", "uninstall", user="ada").stdout
    assert vm.shown("LoadState", user="ada") == "not-found"
    assert not ada.exists()
    assert ada.with_name("state.db").exists()
    assert vm.run("hermesctl", "service", "status", user="ada", check=False).returncode == 1

"""Which manager a machine has, and what each is told; commands are recorded by stand-ins where the real one is not."""

from __future__ import annotations

import os
import plistlib
import pwd
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest

from hermesd.deploy.launchd import LABEL, Launchd
from hermesd.deploy.manager import (
    Installation,
    NotInstalledError,
    ServiceCommandError,
    ServiceManager,
    detect_service_manager,
)
from hermesd.deploy.s6 import S6
from hermesd.deploy.systemd import Systemd
from hermesd.deploy.unmanaged import Unmanaged
from hermesd.deploy.windows import WindowsTask
from hermesd.errors import ConfigError, ConflictError, DeniedError
from tests.servers.daemon import Daemon

ROOT = Path(__file__).parents[3]
Recorder = Callable[..., Path]
Ctl = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    home = tmp_path / "home"
    home.mkdir()
    return Installation("user", "/opt/h/bin/hermesd", "/opt/h/bin/hermesctl", home, home / "hermesd.sock")


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """A program on PATH that notes how it is called; it fails with what stands in ``fails`` for a given first word."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    calls = tmp_path / "calls"
    calls.touch()

    def make(name: str, *, fails: str = "-", says: str = "") -> Path:
        (place / name).write_text(
            f'#!/bin/sh\necho "{name} $*" >> {calls}\n'
            f'case " $* " in *" {fails} "*) echo "{fails}: no" >&2; exit 3;; esac\necho "{says}"\n'
        )
        (place / name).chmod(0o755)
        return calls

    return make


@pytest.mark.parametrize(
    ("comm", "made", "platform", "kind"),
    [
        ("systemd", "run/systemd/system", "linux", "systemd"),
        ("s6-svscan", "run/s6", "linux", "s6"),
        ("s6-svscan", "run/systemd/system", "linux", "s6"),
        ("bash", "run", "linux", "none"),
        ("", "run", "linux", "none"),
        ("launchd", "run", "darwin", "launchd"),
        ("", "run", "win32", "windows"),
    ],
)
def test_the_manager_is_known_by_what_everyone_may_read(
    tmp_path: Path, comm: str, made: str, platform: str, kind: str
) -> None:
    """/proc/1/comm and /run, never /proc/1/exe."""
    (tmp_path / made).mkdir(parents=True)
    if comm:
        (tmp_path / "proc/1").mkdir(parents=True)
        (tmp_path / "proc/1/comm").write_text(f"{comm}\n")
    assert detect_service_manager(tmp_path, platform) == kind


@pytest.mark.parametrize("manager", [Systemd("user"), Launchd("user"), WindowsTask(), Unmanaged()])
def test_slots_of_single_profiles_are_refused_where_there_are_none(manager: ServiceManager) -> None:
    """Callers ask first; whoever does not gets the way that works."""
    assert not manager.supports_runtime_registration()
    for act in (
        lambda: manager.register_profile_gateway("coder"),
        lambda: manager.unregister_profile_gateway("coder"),
        manager.list_profile_gateways,
    ):
        with pytest.raises(ConfigError, match="only under s6") as caught:
            act()
        assert "hermesctl gateway" in caught.value.next_step


# -- systemd, told by a stand-in for systemctl -----------------------------------------------------------------------


def systemd(tmp_path: Path) -> Systemd:
    (tmp_path / "run/systemd").mkdir(parents=True, exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    return Systemd("user", environment={**environment, "XDG_CONFIG_HOME": str(tmp_path / "config")}, uid=os.getuid())


def test_installing_twice_writes_once_and_an_older_unit_is_refreshed(
    installation: Installation, record: Recorder, tmp_path: Path
) -> None:
    """Unit files follow the release; a restart brings them up to date, too."""
    calls = record("systemctl")
    manager = systemd(tmp_path)
    first = manager.install(installation)
    assert [line.split()[0] for line in first[:2]] == ["wrote", "wrote"]
    assert manager.install(installation)[0] == "nothing to do: it is installed and runs"
    calls.write_text("")
    unit = manager.directory / "hermesd.service"
    older = manager.files(installation._replace(stop_s=99))[1].text
    unit.write_text(older)
    assert manager.installed() == installation._replace(stop_s=99)
    said = manager.install(installation)
    assert said[0] == f"refreshed {unit}"
    assert "restart hermesd.service" in calls.read_text()
    unit.write_text(older.replace("# Ten starts", "# 10 starts"))
    with pytest.raises(ConflictError, match="changed by hand"):
        manager.install(installation)
    assert manager.install(installation, force=True)[0] == f"refreshed {unit}"


def test_a_home_that_is_not_there_yet_is_made_for_its_owner_only(
    installation: Installation, record: Recorder, tmp_path: Path
) -> None:
    """Also where systemd makes it, for the socket."""
    record("systemctl")
    manager = systemd(tmp_path)
    manager.install(installation._replace(home=tmp_path / "new", socket=tmp_path / "new/hermesd.sock"))
    assert oct((tmp_path / "new").stat().st_mode & 0o777) == "0o700"
    assert "DirectoryMode=0700\n" in (manager.directory / "hermesd.socket").read_text()


def test_who_does_not_linger_is_told_when_the_service_would_end(
    installation: Installation, record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And how to change that; who lingers is told nothing."""
    record("systemctl")
    monkeypatch.setattr("hermesd.deploy.systemd.LINGER", tmp_path)
    user = pwd.getpwuid(os.getuid()).pw_name
    manager = systemd(tmp_path)
    assert manager.install(installation)[-1] == f"  → to keep it running: sudo loginctl enable-linger {user}"
    (tmp_path / user).touch()
    assert manager.install(installation) == ["nothing to do: it is installed and runs"]


def test_a_unit_made_by_an_earlier_release_is_refreshed_by_a_restart(
    installation: Installation, record: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From what stands in its first lines."""
    record("systemctl")
    manager = systemd(tmp_path)
    manager.install(installation)
    assert manager.restart() == ["hermesd was restarted"]
    from hermesd.deploy import units

    monkeypatch.setattr(units, "_SERVICE", units._SERVICE.replace("RestartSec=1", "RestartSec=2"))
    assert manager.restart() == [f"refreshed {manager.directory / 'hermesd.service'}", "hermesd was restarted"]
    assert "RestartSec=2" in (manager.directory / "hermesd.service").read_text()


def test_the_service_of_another_home_is_not_taken_over(
    installation: Installation, record: Recorder, tmp_path: Path
) -> None:
    """One user has one hermesd.service."""
    record("systemctl")
    manager = systemd(tmp_path)
    manager.install(installation)
    with pytest.raises(ConflictError) as caught:
        manager.install(installation._replace(home=tmp_path / "other"))
    assert str(installation.home) in caught.value.what
    assert "uninstall" in caught.value.next_step


def test_a_command_that_fails_is_told_with_its_status_and_words(
    installation: Installation, record: Recorder, tmp_path: Path
) -> None:
    """rc and stderr, and where to look."""
    record("systemctl", fails="enable")
    with pytest.raises(ServiceCommandError) as caught:
        systemd(tmp_path).install(installation)
    assert "failed with status 3: enable: no" in caught.value.what
    assert "service logs" in caught.value.next_step


def test_without_a_service_every_verb_says_how_to_get_one(tmp_path: Path, record: Recorder) -> None:
    """Not an error of systemctl's."""
    record("systemctl")
    manager = systemd(tmp_path)
    for act in (manager.start, manager.stop, manager.restart, manager.status, manager.uninstall):
        with pytest.raises(NotInstalledError) as caught:
            act()
        assert caught.value.next_step == "install it: hermesctl service install"


def test_where_no_manager_of_the_user_runs_it_is_said_before_anything_is_written(
    installation: Installation, tmp_path: Path
) -> None:
    """And how to have one."""
    environment = {"XDG_RUNTIME_DIR": str(tmp_path / "nothing"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    with pytest.raises(ConfigError) as caught:
        Systemd("user", environment=environment).install(installation)
    assert "enable-linger" in caught.value.next_step
    assert not (tmp_path / "config").exists()


def test_only_root_installs_a_system_service(installation: Installation) -> None:
    """sudo, or --user."""
    with pytest.raises(ConfigError) as caught:
        Systemd("system", uid=1000).install(installation._replace(scope="system", user="games"))
    assert "--user" in caught.value.next_step


def test_where_systemd_does_not_run_nothing_is_written(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Units that nobody reads would make hermesctl name a service that cannot be started."""
    monkeypatch.setattr("hermesd.deploy.systemd.BOOTED", tmp_path / "run/systemd/system")
    monkeypatch.setattr("hermesd.deploy.systemd.SYSTEM_UNITS", tmp_path / "units")
    user = pwd.getpwuid(os.getuid()).pw_name
    with pytest.raises(ConfigError) as caught:
        Systemd("system", uid=0).install(installation._replace(scope="system", user=user))
    assert (caught.value.what, caught.value.next_step) == (
        "systemd does not run on this machine",
        "run hermesd --detach instead",
    )
    assert not (tmp_path / "units").exists()


def test_facts_of_a_unit_that_were_changed_by_hand_are_no_crash(
    installation: Installation, tmp_path: Path, record: Recorder
) -> None:
    """hermesctl looks at the unit whenever it finds no daemon."""
    record("systemctl")
    manager = systemd(tmp_path)
    manager.install(installation)
    unit = manager.directory / "hermesd.service"
    unit.write_text(unit.read_text().replace('"stop_s": "60"', '"stop_s": "a while"'))
    there = manager.installed()
    assert there is not None
    assert there.stop_s == 60


# -- the others ------------------------------------------------------------------------------------------------------


def test_launchd_gets_a_property_list_and_its_commands(installation: Installation, record: Recorder) -> None:
    """As launchd.plist(5) and launchctl(1) have them."""
    calls = record("launchctl", fails="print")
    manager = Launchd("user", uid=501)
    manager.install(installation)
    found = plistlib.loads(manager.path.read_bytes())
    assert found["ProgramArguments"] == [installation.hermesd]
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["EnvironmentVariables"]["HERMES_HOME"] == str(installation.home)
    manager.restart()
    manager.uninstall()
    assert not manager.path.exists()
    assert calls.read_text().splitlines() == [
        f"launchctl bootstrap gui/501 {manager.path}",
        f"launchctl kickstart -k gui/501/{LABEL}",
        f"launchctl bootout gui/501/{LABEL}",
    ]
    with pytest.raises(NotInstalledError):
        manager.start()


def test_a_property_list_of_somebody_else_is_left_alone(installation: Installation, record: Recorder) -> None:
    """It has no mark of ours."""
    record("launchctl")
    manager = Launchd("user", uid=501)
    manager.path.parent.mkdir(parents=True)
    manager.path.write_bytes(plistlib.dumps({"Label": LABEL}))
    with pytest.raises(ConflictError):
        manager.install(installation)
    with pytest.raises(ConflictError):
        manager.uninstall()
    with pytest.raises(ConfigError, match="was not made by hermesctl"):
        manager.log_command(lines=1, follow=False)
    manager.path.write_text("<plist>")
    with pytest.raises(ConfigError, match="was not made by hermesctl"):
        manager.log_command(lines=1, follow=False)
    manager.path.unlink()
    with pytest.raises(NotInstalledError):
        manager.log_command(lines=1, follow=False)


def test_windows_gets_a_task_that_starts_hermesd_in_wsl(
    installation: Installation, record: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Well-formed, whatever the home is called."""
    calls = record("schtasks.exe")
    record("wslpath", says="//wsl.localhost/A/task.xml")
    monkeypatch.setenv("WSL_DISTRO_NAME", "A & B")
    found = installation._replace(home=installation.home / "<it> & so")
    found.home.mkdir()
    WindowsTask().install(found)
    (file,) = WindowsTask().files(found)
    arguments = ElementTree.fromstring(file.path.read_text()).find(".//{*}Arguments")
    assert arguments is not None
    assert arguments.text == f'--distribution "A & B" --exec /opt/h/bin/hermesd --home "{found.home}"'
    assert calls.read_text().splitlines()[:2] == [
        f"wslpath -w {file.path}",
        "schtasks.exe /Create /TN hermesd /XML //wsl.localhost/A/task.xml /F",
    ]


@pytest.mark.parametrize("manager", [Launchd, WindowsTask])
def test_where_the_managers_program_is_missing_nothing_is_written(
    installation: Installation, tmp_path: Path, manager: Callable[..., ServiceManager], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A property list on Linux would lie there for ever."""
    monkeypatch.setenv("HOME", str(tmp_path))
    chosen = manager("user", environment={"PATH": ""}) if manager is Launchd else manager(environment={"PATH": ""})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ServiceCommandError, match="is not installed"):
        chosen.install(installation)
    assert sorted(tmp_path.rglob("*")) == before


def test_s6_gets_a_service_directory_whose_finish_script_keeps_a_wrong_configuration_down(
    installation: Installation, tmp_path: Path
) -> None:
    """78 becomes 125; anything else is started again."""
    files = {str(file.path.relative_to(tmp_path / "hermesd")): file.text for file in S6(tmp_path).files(installation)}
    assert files["notification-fd"] == "3\n"
    assert "--ready-fd 3 --stop-status 100" in files["run"]
    assert '"$1" = 100' in files["finish"]
    script = tmp_path / "finish"
    script.write_text(files["finish"])
    assert subprocess.run(["sh", script, "78", "0"], check=False).returncode == 125


def test_without_any_manager_the_way_without_one_is_told(installation: Installation) -> None:
    """A refusal, with the command that works."""
    manager = Unmanaged()
    with pytest.raises(ConfigError) as caught:
        manager.install(installation)
    assert "hermesd --detach" in caught.value.next_step
    assert not manager.is_running()


# -- hermesctl -------------------------------------------------------------------------------------------------------


def ctl(home: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hermesctl", *words],
        cwd=ROOT,
        env={**os.environ, "HERMES_HOME": str(home), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("verb", ["service", "gateway"])
def test_print_shows_the_files_and_does_nothing(tmp_path: Path, verb: str) -> None:
    """Also of a manager that this machine does not have."""
    home = tmp_path / "my home"
    shown = ctl(home, verb, "install", "--print", "--user", "--manager", "systemd").stdout
    assert f'Environment="HERMES_HOME={home}"' in shown
    assert f"ListenStream={home}/hermesd.sock" in shown
    assert "Type=notify\n" in shown
    shown = ctl(home, verb, "install", "--print", "--user", "--manager", "launchd").stdout
    assert plistlib.loads(shown.partition("\n")[2].encode())["EnvironmentVariables"]["HERMES_HOME"] == str(home)
    shown = ctl(home, verb, "install", "--print", "--user", "--manager", "windows").stdout
    task = ElementTree.fromstring(shown.partition("\n")[2].strip())
    assert f'--home "{home}"' in (task.findtext(".//{*}Arguments") or "")
    assert not home.exists()


def test_beside_a_daemon_started_by_hand_no_service_is_started(daemon: Daemon, record: Recorder) -> None:
    """It has the home: the unit would fail on it until it is given up."""
    calls = record("systemctl", fails="is-active")
    daemon.start()
    for words in ("service install --user", "service start --user"):
        done = ctl(daemon.home, *words.split(), "--manager", "systemd")
        assert done.returncode == 1
        assert f"pid {daemon.pid} runs already" in done.stderr
        assert "hermesctl stop" in done.stderr
    assert not [line for line in calls.read_text().splitlines() if "is-active" not in line]
    daemon.kill()
    assert "runs already" not in ctl(daemon.home, "service", "start", "--user", "--manager", "systemd").stderr


def test_a_daemon_of_another_home_is_not_in_the_way_of_the_service(
    daemon: Daemon, tmp_path: Path, record: Recorder
) -> None:
    """root starts the machine's service, and may run a daemon of its own; the service's home is what counts."""
    other = tmp_path / "other"
    installation = Installation("user", "/opt/h/bin/hermesd", "/opt/h/bin/hermesctl", other, other / "hermesd.sock")
    calls = record("systemctl", fails="is-active")
    systemd(tmp_path).install(installation)
    daemon.start()
    places = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    words = ("service", "start", "--user", "--manager", "systemd")
    assert ctl(daemon.home, *words, **places).returncode == 0
    assert "start hermesd.socket hermesd.service" in calls.read_text()
    there = installation._replace(home=daemon.home, socket=daemon.home / "hermesd.sock")
    systemd(tmp_path).install(there, force=True)
    assert f"pid {daemon.pid} runs already" in ctl(tmp_path / "elsewhere", *words, **places).stderr


@pytest.mark.parametrize("words", ["service install", "service uninstall", "gateway install", "gateway uninstall"])
def test_a_managed_installation_refuses_with_78_and_names_the_manager(tmp_path: Path, words: str) -> None:
    """What declares the service is where it is changed."""
    done = ctl(tmp_path, *words.split(), "--manager", "systemd", HERMES_MANAGED="nixos")
    assert done.returncode == 78
    assert "managed by NixOS" in done.stderr
    assert "nixos-rebuild" in done.stderr


def test_without_a_manager_nobody_is_asked_whom_the_service_is_for(tmp_path: Path) -> None:
    """It could not be installed for anybody."""
    done = ctl(tmp_path / "home", "service", "install", "--system", "--manager", "none")
    assert (done.returncode, done.stdout) == (78, "")
    assert "no service manager runs on this machine" in done.stderr
    assert "→ run hermesd --detach" in done.stderr


def test_a_system_service_needs_a_user_who_exists(tmp_path: Path) -> None:
    """Usage, with the command that makes one."""
    words = ["service", "install", "--print", "--system", "--manager", "systemd"]
    done = ctl(tmp_path, *words, SUDO_USER="")
    assert (done.returncode, "--run-as" in done.stderr) == (2, True)
    done = ctl(tmp_path, *words, "--run-as", "no-such-user")
    assert (done.returncode, "useradd" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "status", "what", "step"),
    [
        ("install --run-as games --user", 2, "runs as somebody else", "add --system"),
        ("install --system --run-as root", 2, "not to run as root", "--run-as hermes"),
        ("install --system --run-as nobody", 2, "has no home directory", "HERMES_HOME="),
        ("logs -n -5", 2, "-5 lines cannot be shown", "from 0 up"),
        ("logs --user", 1, "not installed as a service", "hermesctl service install"),
        ("status --user", 1, "not installed as a service", "hermesctl service install"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_next_step(
    tmp_path: Path, words: str, status: int, what: str, step: str
) -> None:
    """Before anything is written."""
    environment = {"HERMES_HOME": "", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    done = ctl(tmp_path, "service", *words.split(), "--manager", "systemd", **environment)
    assert done.returncode == status
    assert what in done.stderr
    assert step in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


RUNS = """\
ActiveState=active
SubState=running
UnitFileState=enabled
MainPID=75
NRestarts=2
StatusText=ready, 1 profile
Result=success
ExecMainStatus=0
StateChangeTimestamp=Sat 2026-11-21 17:56:54 UTC"""
FAILED = """\
ActiveState=failed
SubState=failed
UnitFileState=enabled
MainPID=0
NRestarts=0
StatusText=stopping: running turns are finished
Result=exit-code
ExecMainStatus=78
StateChangeTimestamp=Sat 2026-11-21 17:56:54 UTC"""


@pytest.fixture
def at_home(installation: Installation, tmp_path: Path, record: Recorder) -> Ctl:
    """hermesctl of a user whose service is installed; systemctl and journalctl are stand-ins."""
    record("systemctl")
    systemd(tmp_path).install(installation)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        places = {"XDG_RUNTIME_DIR": str(tmp_path / "run"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        return ctl(installation.home, *words, **places)

    return run


def test_the_status_tells_state_manager_start_and_process(at_home: Ctl, record: Recorder) -> None:
    """A line each; of a service that has failed why, and no words of a process that is gone."""
    record("systemctl", says=RUNS)
    done = at_home("service", "status", "--user", "--manager", "systemd")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "service  active (running) since Sat 2026-11-21 17:56:54 UTC"
    assert lines[1] == "manager  systemd, the user's"
    assert lines[3:] == ["process  75, started again after a failure: 2 times", "says     ready, 1 profile"]
    record("systemctl", says=FAILED)
    done = at_home("service", "status", "--user", "--manager", "systemd")
    assert done.returncode == 1
    assert "failed (failed, exit-code, status 78)" in done.stdout
    assert "stopping" not in done.stdout
    assert done.stderr.splitlines()[-1] == "  → look why: hermesctl service logs"


def test_the_journal_is_shown_for_people_and_with_json_as_it_is(at_home: Ctl, record: Recorder) -> None:
    """Our lines rendered behind what journalctl says of them; what would steer a terminal is taken out."""
    entry = '{"level":"warning","message":"the disk is full","profile":"a"}'.replace('"', '\\"')
    record(
        "journalctl", says=f"Nov 21 17:56:54 vm hermesd[75]: {entry}\nNov 21 17:56:54 vm hermesd[75]: \033[31mTraceback"
    )
    words = ("service", "logs", "--user", "--manager", "systemd", "-n", "7")
    done = at_home(*words)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0] == "Nov 21 17:56:54 vm hermesd[75]: warning the disk is full profile=a"
    assert "\033" not in done.stdout
    assert "Traceback" in lines[1]
    assert '{"level":"warning"' in at_home("--json", *words).stdout


def test_who_finds_no_daemon_is_told_to_start_the_service_of_this_home(at_home: Ctl) -> None:
    """One started by hand would be in its way."""
    done = at_home("tree")
    assert done.returncode == 69
    assert done.stderr.splitlines()[-1] == "  → start it: hermesctl service start"


def test_who_may_not_control_the_machines_service_is_told_to_use_sudo(
    tmp_path: Path, record: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not permitted (77), instead of systemctl's words."""
    record("systemctl", fails="stop")
    stub = tmp_path / "bin/systemctl"
    stub.write_text(stub.read_text().replace("stop: no", "Failed to stop hermesd.service: Access denied"))
    monkeypatch.setattr("hermesd.deploy.systemd.SYSTEM_UNITS", tmp_path)
    (tmp_path / "hermesd.service").touch()
    with pytest.raises(DeniedError) as caught:
        Systemd("system", uid=1000).stop()
    assert caught.value.next_step == "repeat it with sudo"


def test_a_service_of_the_tree_has_no_scope(tmp_path: Path) -> None:
    """``service restart NAME`` still means the tree, and then --user means nothing."""
    done = ctl(tmp_path, "service", "restart", "profile/default/turns", "--user")
    assert done.returncode == 2
    done = ctl(tmp_path, "service", "restart", "profile/default/turns")
    assert done.returncode == 69

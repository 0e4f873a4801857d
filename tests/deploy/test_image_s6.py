"""The image's scripts without an image: read by shellcheck, and its tree of services run by a real s6-svscan."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.daemon import Daemon
from tests.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).parents[2]
PATIENCE_MS = str(int(PATIENCE_S * 1000))


def scripts(interpreter: str) -> list[Path]:
    files = [path for folder in ("docker", "s6") for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    return [path for path in files if path.read_text().startswith(f"#!{interpreter}")]


def needs(*programs: str) -> None:
    for program in programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")


def test_shellcheck_has_nothing_to_say_about_the_scripts() -> None:
    """Every shell script of the image, at shellcheck's strictest level."""
    needs("shellcheck")
    found = scripts("/bin/sh")
    assert len(found) > 10
    done = subprocess.run(["shellcheck", "--shell=sh", *found], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_script_can_be_run() -> None:
    """A script that has lost its mode would keep a container from starting, or a service from ending it."""
    found = scripts("/")
    assert {path.name for path in found} >= {"init", "boot", "tree", "main", "as-hermes", "run", "finish", "SIGTERM"}
    assert [path for path in found if not os.access(path, os.X_OK)] == []


def test_image_takes_from_the_folder_only_what_it_is_made_of() -> None:
    """.dockerignore names what goes in, so that no .env, home or history of somebody's gets into an image."""
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in lines
    taken = {line[1:].split("/")[0] for line in lines if line.startswith("!")}
    assert taken == {
        "LICENSE",
        "README.md",
        "docker",
        "hermesctl",
        "hermesd",
        "pyproject.toml",
        "s6",
        "scripts",
        "dist",
    }


def test_compose_file_and_dockerfile_agree() -> None:
    """The volume, the file that is built and the time a stop may take."""
    import yaml

    service = yaml.safe_load((ROOT / "docker/compose.yaml").read_text())["services"]["hermesd"]
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    assert service["build"] == {"context": "..", "dockerfile": "docker/Dockerfile"}
    volume = re.search(r"^VOLUME (.*)$", dockerfile, re.MULTILINE)
    assert volume is not None
    assert service["volumes"] == [f"hermes:{volume[1]}"]
    assert service["stop_grace_period"] == "30s", "20 s for running turns, 5 s for everything else"
    assert service["environment"]["HERMES_STOP_S"] + "s" == service["stop_grace_period"]


def test_stop_that_comes_before_the_tree_of_services_is_heeded(tmp_path: Path) -> None:
    """The first script is process 1 by then, which the kernel spares every signal that it has no handler for."""
    needs("flock")
    (tmp_path / "find").write_text(f"#!/bin/sh\n: > {tmp_path}/begun\nexec sleep 2\n")  # what it runs first
    (tmp_path / "find").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HERMES_HOME": str(tmp_path)}
    with subprocess.Popen([ROOT / "docker/boot"], env=environment) as boot:
        wait_until((tmp_path / "begun").exists)
        boot.terminate()
        assert boot.wait(PATIENCE_S) == 128 + signal.SIGTERM, "a negative one would be no handler's"


@dataclass
class Tree:
    """The image's services in a directory of the test."""

    place: Path
    home: Path
    process: subprocess.Popen[bytes]
    listener: subprocess.Popen[str]

    def first_event(self) -> str:
        """What has become of hermesd: U ready, O it will not be started again (s6-supervise's letters)."""
        assert self.listener.stdout is not None
        said = self.listener.stdout.read().strip()
        assert self.listener.wait() == 0, "neither within the time"
        return said

    @property
    def service(self) -> Path:
        return self.place / "hermesd"

    def wait(self, option: str) -> int:
        return subprocess.run(["s6-svwait", option, "-t", PATIENCE_MS, self.service], check=False).returncode

    def stat(self, field: str) -> str:
        asked = ["s6-svstat", "-o", field, self.service]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()

    def control(self, option: str) -> None:
        subprocess.run(["s6-svc", option, self.service], check=True)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return Daemon(self.home).ctl(*words)


def listen(events: Path) -> subprocess.Popen[str]:
    """Listens once this returns, before anything is started; prints the event and ends."""
    subprocess.run(["s6-mkfifodir", events], check=True)
    command = ["s6-ftrig-listen1", "-t", PATIENCE_MS, str(events), "[UO]", "echo", "listening"]
    listener = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert listener.stdout is not None
    assert listener.stdout.readline() == "listening\n"
    return listener


@contextmanager
def supervised(
    tmp_path: Path, what_for: str, config: str = "", program: str = "", starts: int = 10, **environment: str
) -> Iterator[Tree]:
    """s6-svscan on a copy of s6/, ended by its process id. ``starts``: how many ends in five minutes are too many."""
    needs("s6-svscan", "s6-log", "s6-ftrig-listen1")
    tree, home, programs = tmp_path / "tree", tmp_path / "home", tmp_path / "bin"
    shutil.copytree(ROOT / "s6", tree)
    (tree / ".container").mkdir()
    finish = (tree / "hermesd/finish").read_text()
    assert " 300 10 " in finish
    (tree / "hermesd/finish").write_text(finish.replace(" 300 10 ", f" 300 {starts} "))
    home.mkdir(mode=0o700)
    (home / "logs").mkdir(mode=0o700)
    if config:
        (home / "config.yaml").write_text(config)
    programs.mkdir()
    program = program or f'#!/bin/sh\nexec {sys.executable} -m hermesd "$@"\n'
    (programs / "hermesd").write_text(program)
    (programs / "hermesd").chmod(0o755)
    listener = listen(tree / "hermesd/event")
    reader, writer = os.pipe()
    environment = {
        **os.environ,
        **environment,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HERMES_HOME": str(home),
        "HERMES_MAIN": what_for,
    }
    # a new group, because s6-supervise makes its service a session of its own and gets no signal of ours
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            ["s6-svscan", "-d", str(writer), str(tree)],
            env=environment,
            pass_fds=(writer,),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as notification:
            assert notification.read(1) == b"\n"
        yield Tree(tree, home, process, listener)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE_S)
        listener.kill()
        listener.communicate()


def test_killed_daemon_is_ready_again_and_a_planned_stop_ends_the_tree_with_0(tmp_path: Path) -> None:
    """Death by a signal is s6's to mend; an end of its own is the container's, with hermesd's status."""
    with supervised(tmp_path, "daemon") as tree:
        assert tree.first_event() == "U"
        first = int(tree.stat("pid"))
        assert tree.ctl("status").returncode == 0
        subprocess.run(["s6-svc", "-wR", "-T", PATIENCE_MS, "-k", tree.service], check=True)
        assert int(tree.stat("pid")) != first
        assert tree.ctl("stop").returncode == 0
        assert tree.process.wait(PATIENCE_S) == 0
        written = (tree.home / "logs/daemon/current").read_text()
        assert written.count('"ready, profiles: 1') == 2
        assert written.count('"ready, profiles: 1') == (tmp_path / "output").read_text().count('"ready, profiles: 1')


def test_wrong_configuration_ends_the_container_with_78(tmp_path: Path) -> None:
    """No restart: the reason stands in the output, and the status tells it from a crash."""
    with supervised(tmp_path, "daemon", config="modle: offline\n") as tree:
        assert tree.process.wait(PATIENCE_S) == 78
        assert "modle" in (tmp_path / "output").read_text()


def test_wrong_configuration_beside_another_program_stays_down(tmp_path: Path) -> None:
    """78 becomes 125, which s6 takes for a permanent failure; the container goes on, and a later start works."""
    with supervised(tmp_path, "program", config="modle: offline\n") as tree:
        assert tree.first_event() == "O"
        assert tree.wait("-D") == 0
        assert (tree.stat("up"), tree.stat("exitcode")) == ("false", "78")
        assert tree.process.poll() is None
        (tree.home / "config.yaml").write_text("model: offline\n")
        tree.control("-u")
        assert tree.wait("-U") == 0
        assert "modle" not in (tmp_path / "output").read_text(), "the program's output is not the daemon's log"
        assert "modle" in (tree.home / "logs/daemon/current").read_text()


def test_daemon_that_is_kept_down_by_hand_does_not_end_the_container(tmp_path: Path) -> None:
    """``s6-svc -d`` is for maintenance, and ``-u`` brings it back; TERM then stops everything in order."""
    with supervised(tmp_path, "daemon") as tree:
        assert tree.first_event() == "U"
        tree.control("-d")
        assert tree.wait("-D") == 0
        tree.control("-u")
        assert tree.wait("-U") == 0
        assert tree.process.poll() is None
        tree.process.terminate()
        assert tree.process.wait(PATIENCE_S) == 0
        assert not (tree.home / "hermesd.pid").exists()


@pytest.mark.parametrize("order", ["-r", "-t"])
def test_daemon_that_is_restarted_by_hand_does_not_end_the_container(tmp_path: Path, order: str) -> None:
    """``s6-svc -r`` sends it the signal of a planned stop, too; the status tells that from `hermesctl stop`."""
    with supervised(tmp_path, "daemon") as tree:
        assert tree.first_event() == "U"
        first = tree.stat("pid")
        subprocess.run(["s6-svc", "-wR", "-T", PATIENCE_MS, order, tree.service], check=True)
        assert tree.stat("pid") != first
        assert tree.process.poll() is None
        assert tree.ctl("stop").returncode == 0
        assert tree.process.wait(PATIENCE_S) == 0


def test_hermesctl_restarts_shows_and_reads_the_service(tmp_path: Path) -> None:
    """``hermesctl service restart|status|logs``, as it is called inside."""
    with supervised(tmp_path, "daemon") as tree:
        assert tree.first_event() == "U"
        first = tree.stat("pid")
        daemon = Daemon(tree.home, {"HERMES_S6_SCANDIR": str(tree.place)})
        done = daemon.ctl("service", "restart")
        assert (done.returncode, done.stdout) == (0, "hermesd was restarted\n"), done.stderr
        assert tree.process.poll() is None
        shown = daemon.ctl("service", "status").stdout
        assert shown.splitlines()[:3] == ["service  ready", "manager  s6", "starts   at boot"]
        assert tree.stat("pid") != first
        assert f"process  {tree.stat('pid')}, started again after a failure: never\n" in shown
        subprocess.run(["s6-svc", "-wR", "-T", PATIENCE_MS, "-k", tree.service], check=True)
        assert "started again after a failure: once\n" in daemon.ctl("service", "status").stdout
        told = daemon.ctl("service", "logs").stdout
        assert told.count("ready, profiles: 1") == 3
        assert re.match(r"\d\d-\d\d \d\d:\d\d:\d\d info ", told), "one time is enough"
        assert daemon.ctl("service", "stop").returncode == 0
        assert "→ start it: hermesctl service start\n" in daemon.ctl("status").stderr, "one beside it has no supervisor"


@pytest.mark.parametrize(("what_for", "ends"), [("daemon", True), ("program", False)])
def test_daemon_that_is_killed_again_and_again_is_given_up(tmp_path: Path, what_for: str, ends: bool) -> None:
    """After ten ends in five minutes, here three: the container ends with 128 + 9, or goes on without it."""
    dies = "#!/bin/sh\nkill -KILL $$\n"
    with supervised(tmp_path, what_for, program=dies, starts=3) as tree:
        assert tree.first_event() == "O"
        if ends:
            assert tree.process.wait(PATIENCE_S) == 128 + signal.SIGKILL
        else:
            assert tree.wait("-D") == 0
            assert tree.process.poll() is None


def test_a_stop_parks_the_turns_that_would_drain_for_too_long(tmp_path: Path) -> None:
    """HERMES_STOP_S says when Docker kills; hermesd is told again in time, ends in order, and goes on with the turn."""
    with supervised(tmp_path, "daemon", "shutdown: {drain_s: 600}\n", HERMES_STOP_S="4") as tree:
        assert tree.first_event() == "U"
        daemon = Daemon(tree.home)
        with daemon.connect() as wire:
            wire.send("chat.send", text="slow 5000", delivery_id="d-1")
            wire.until("chat.update", kind="text")
            tree.process.terminate()
            assert tree.process.wait(PATIENCE_S) == 0, "running turns may drain for ten minutes"
        daemon.start()
        try:
            (row,) = daemon.call("inbox.list", states=["running", "pending"])["rows"]
            assert row["delivery_id"].endswith("d-1")
        finally:
            daemon.kill()


def test_hangup_of_process_1_reaches_the_daemon(tmp_path: Path) -> None:
    """`docker kill --signal HUP` asks hermesd to read its configuration again; here a stand-in tells that it came."""
    heeds = 'trap "exit 42" HUP; echo >&3; exec 3>&-; while :; do sleep 1; done'
    with supervised(tmp_path, "daemon", program=f"#!/bin/sh\n{heeds}\n") as tree:
        assert tree.first_event() == "U"
        tree.process.send_signal(signal.SIGHUP)
        assert tree.process.wait(PATIENCE_S) == 42

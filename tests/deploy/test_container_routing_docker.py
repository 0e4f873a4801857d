"""hermesctl on a host, hermesd in a container: a real Docker Engine, a real daemon inside."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.servers.dockerd import IMAGE, ROOT, Engine, runtime_mounts, write_package
from tests.servers.terminal import at_terminal
from tests.waiting import wait_until

NAME = "hermes-agent"
UID = 10000
ENTER = (
    "echo hermes:x:10000:10000::/home/hermes:/bin/sh >> /etc/passwd && echo hermes:x:10000: >> /etc/group && "
    "exec setpriv --reuid 10000 --regid 10000 --clear-groups /data/current-package/bin/hermesd"
)
PROGRAM = "/data/current-package/bin/hermesctl"


@dataclass
class Host:
    """A home with a marker, and hermesctl as its user calls it."""

    docker: Engine
    data: Path
    env: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.data / ".hermes"

    def mark(self, *lines: str) -> None:
        (self.home / ".container-mode").write_text("".join(f"{line}\n" for line in lines))

    def put(self, name: str, script: str) -> str:
        """A program in the container; its path there."""
        (self.data / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.data / name).chmod(0o755)
        return f"/data/{name}"

    @property
    def environment(self) -> dict[str, str]:
        return {**self.docker.env, "HERMES_HOME": str(self.home), "LANG": "C.UTF-8", **self.env}

    def ctl(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A call whose program has said that it is ready; killed on exit."""
        process = subprocess.Popen(
            self.command(*words), env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        try:
            assert process.stdout
            assert select.select([process.stdout], [], [], 30)[0], "it says nothing"
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()
            process.communicate()

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hermesctl", *words]


@pytest.fixture(scope="module")
def served(docker: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A running container with hermesd as uid 10000, and what its host has of it."""
    data = tmp_path_factory.mktemp("data")
    data.chmod(0o755)
    write_package(data / "current-package")
    (data / ".hermes").mkdir(mode=0o700)
    os.chown(data / ".hermes", UID, UID)
    mounts = [word for path in runtime_mounts() for word in ("-v", f"{path}:{path}:ro")]
    environment = ["-e", "HERMES_HOME=/data/.hermes", "-e", "HOME=/tmp"]
    docker.run(
        *("run", "-d", "--init", "--name", NAME, "--network", "host", *mounts, *environment),
        *("-v", f"{data}:/data", IMAGE, "sh", "-c", ENTER),
    )
    yield Host(docker, data)
    docker.run("rm", "--force", NAME)


@pytest.fixture
def host(served: Host) -> Host:
    """With a marker that names nothing: the defaults are right."""
    served.mark("# written by a test")
    if served.docker.run("inspect", "-f", "{{.State.Running}}", NAME).stdout.strip() != "true":
        served.docker.run("start", NAME)
    return served


def test_a_call_on_the_host_is_answered_from_inside(host: Host) -> None:
    """The daemon that answers lives at the container's path of the home."""
    host.ctl("status")  # the first to come waits for the entrypoint
    done = wait_until(lambda: host.ctl("status", "--json"), lambda found: found.returncode != 69, every_s=0.2)
    assert done.returncode == 0, done.stderr
    assert "/data/.hermes" in done.stdout


@pytest.mark.parametrize("words", [("-p", "coder", "profile", "show"), ("profile", "show", "-p", "coder")])
def test_a_profile_is_passed_on_before_and_after_the_verb(host: Host, words: tuple[str, ...]) -> None:
    """As the rest of the line."""
    host.ctl("profile", "create", "coder")
    done = host.ctl(*words)
    assert done.returncode == 0, done.stderr
    assert "coder" in done.stdout


def test_standard_input_and_output_are_those_of_the_call(host: Host) -> None:
    """Through pipes, byte by byte, and standard error apart."""
    host.mark(f"hermes_bin={host.put('both', 'cat; echo told >&2; printf %s end')}")
    done = host.ctl("chat", stdin="one\ntwo\n" * 1000)
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo\n" * 1000 + "end", "told\n")


@pytest.mark.parametrize("status", [0, 1, 37, 78, 126, 127, 255])
def test_the_exit_status_comes_back(host: Host, status: int) -> None:
    """Also one that docker has a meaning for."""
    program = host.put("leave", f"exit {status}")
    host.mark(f"hermes_bin={program}")
    done = host.ctl("status")
    assert (done.returncode, done.stderr) == (status, "")


def test_ctrl_c_at_a_terminal_reaches_the_program_inside(host: Host) -> None:
    """It ends by itself, with its own status; the terminal's size is known inside."""
    sized = 'while [ "$(stty size)" = "0 0" ]; do sleep 0.05; done\nstty size; echo "$TERM"\n'  # told after the start
    program = host.put("wait", 'trap "echo interrupted; exit 9" INT\n' + sized + "while :; do sleep 0.1; done")
    host.mark(f"hermes_bin={program}")
    with at_terminal(host.command("chat"), {**host.environment, "TERM": "xterm-test"}, columns=123) as terminal:
        terminal.expect("40 123")
        terminal.expect("xterm-test")
        terminal.type("\x03")
        terminal.expect("interrupted")
        assert terminal.wait() == 9


def test_ctrl_c_reaches_the_program_inside_also_when_only_its_input_is_a_terminal(host: Host) -> None:
    """``hermesctl chat | less``: the key is a signal for the whole pipeline, and docker's client would die of it."""
    script = f'[ "$1" = container ] && exec {PROGRAM} "$@"\ntrap "echo caught; exit 9" INT\necho ready\n'
    host.mark(f"hermes_bin={host.put('trapped', script + 'while :; do sleep 0.1; done')}")
    pipeline = """ "$@" | sh -c "trap '' INT; cat" """
    with at_terminal(["sh", "-c", pipeline, "sh", *host.command("chat")], host.environment) as terminal:
        terminal.expect("ready")
        terminal.type("\x03")
        terminal.expect("caught")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_for_a_call_through_pipes_reaches_the_program_inside(host: Host, number: signal.Signals) -> None:
    """docker would only end its client, and leave the program running."""
    script = f'[ "$1" = container ] && exec {PROGRAM} "$@"\ntrap "echo caught; exit 9" INT TERM HUP\necho ready\n'
    host.mark(f"hermes_bin={host.put('trapped', script + 'while :; do sleep 0.1; done')}")
    with host.started("chat", "-q", "a b") as process:
        process.send_signal(number)
        assert process.communicate(timeout=30)[0] == b"caught\n"
        assert process.returncode == 9


def test_a_name_with_blanks_and_quotes_is_one_argument(host: Host, tmp_path: Path) -> None:
    """Nothing of it is run, here or there; docker knows no such container."""
    planted = tmp_path / "planted"
    host.mark(f"""container_name=a b'; touch {planted}; echo "$(touch {planted})`touch {planted}`""")
    done = host.ctl("status")
    assert done.returncode == 69
    assert done.stdout == ""
    assert "no such container" in done.stderr.lower()
    assert not planted.exists()


def test_a_stopped_container_is_a_clear_error_after_the_retry(host: Host) -> None:
    """After five seconds with a spinner at a terminal; never the host instead."""
    host.docker.run("stop", "-t", "5", NAME)
    began = time.monotonic()
    with at_terminal(host.command("status"), host.environment) as terminal:
        terminal.expect(f"waiting for the container {NAME}")
        terminal.expect(f"hermesctl: container {NAME}: the container is not running (exited), also not after 5 s")
        assert time.monotonic() - began >= 5
        terminal.expect(f"docker start {NAME}")
        assert terminal.wait() == 69


def test_a_container_that_comes_up_meanwhile_is_waited_for(host: Host) -> None:
    """At a terminal with a spinner."""
    host.mark(f"hermes_bin={host.put('here', 'echo here')}")
    host.docker.run("stop", "-t", "5", NAME)
    with at_terminal(host.command("status"), host.environment) as terminal:
        terminal.expect(f"waiting for the container {NAME}")
        host.docker.run("start", NAME)
        terminal.expect("here")
        assert terminal.wait() == 0


@pytest.mark.long
def test_a_stopped_container_is_an_error_after_ten_silent_seconds_through_pipes(host: Host) -> None:
    """Nobody sees a spinner there, and a script may have started the container a moment ago."""
    host.docker.run("stop", "-t", "5", NAME)
    began = time.monotonic()
    done = host.ctl("status")
    assert time.monotonic() - began >= 10
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr.startswith(f"hermesctl: container {NAME}: the container is not running (exited), also not")


def test_hermes_dev_stays_on_the_host(host: Host) -> None:
    """Where no daemon runs: it is not the one inside that answers. Inside it changes nothing."""
    host.env = {"HERMES_DEV": "1"}
    try:
        done = host.ctl("status")
        assert done.returncode == 69
        assert str(host.home) in done.stderr
    finally:
        host.env = {}
    host.ctl("status")  # waits for the entrypoint
    inside = ["exec", "-u", "hermes", "-e", "HERMES_DEV=1", NAME, PROGRAM, "version"]
    assert host.docker.run(*inside).returncode == 0


AS_NOBODY = """
import os, sys
import hermesctl.fast, hermesctl.__main__, hermesctl.routing.route, hermesctl.routing.call, hermesctl.routing.spinner
import hermesctl.routing.backend, hermesctl.routing.attend, hermesctl.routing.marker, hermesctl.routing.place
import _strptime, datetime, encodings.idna, termios, select
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
os.chdir("/")
sys.exit(hermesctl.fast.run(["hermesctl", *sys.argv[1:]]))
"""
NOPASSWD = 'Defaults env_keep += "DOCKER_HOST"\nnobody ALL=(root) NOPASSWD: {}\n'


@pytest.mark.parametrize("allowed", [True, False])
def test_sudo_is_asked_where_the_engine_refuses_this_user(host: Host, allowed: bool) -> None:
    """A real sudo with rules of its own, in a mount namespace: nobody may run docker by it, or nothing at all."""
    docker = shutil.which("docker")
    if os.geteuid() != 0 or not shutil.which("sudo") or not docker:
        pytest.skip("needs root, sudo and docker")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o755)
        rules = place / "sudoers"
        rules.write_text(NOPASSWD.format(docker) if allowed else "root ALL=(ALL) ALL\n")
        rules.chmod(0o440)
        (place / ".container-mode").write_text(f"hermes_bin={host.put('who', 'id -un; exit 37')}\n")
        (place / ".container-mode").chmod(0o644)
        enter = f'mount --bind {rules} /etc/sudoers && exec {sys.executable} -c "$0" "$@"'
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", enter, AS_NOBODY, "-p", "coder", "status"],
            env={**host.environment, "HERMES_HOME": name, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    if allowed:
        assert (done.returncode, done.stdout, done.stderr) == (37, "hermes\n", "")
    else:
        assert done.returncode == 77, done.stderr
        assert done.stdout == ""
        assert "docker refuses this user: permission denied" in done.stderr
        assert "so does sudo" in done.stderr
        assert "NOPASSWD" in done.stderr


@pytest.mark.long
def test_a_change_of_the_window_is_seen_inside(host: Host) -> None:
    """docker's client hears of it, since it has the terminal."""
    program = host.put("size", "while :; do stty size; sleep 0.1; done")
    host.mark(f"hermes_bin={program}")
    with at_terminal(host.command("chat"), host.environment, columns=123) as terminal:
        terminal.expect("40 123")
        terminal.resize(50, 77)
        terminal.expect("50 77")
        terminal.type("\x03")
        assert terminal.wait() == 130


@pytest.mark.long
def test_of_many_calls_that_run_at_once_each_gets_its_own_signal(host: Host) -> None:
    """Started one after the other, ended in another order."""
    script = f'[ "$1" = container ] && exec {PROGRAM} "$@"\ntrap "echo caught; exit 9" TERM\necho ready\n'
    host.mark(f"hermes_bin={host.put('trapped', script + 'while :; do sleep 0.1; done')}")
    with contextlib.ExitStack() as stack:
        calls = [stack.enter_context(host.started("events", "-f")) for _ in range(6)]
        for number in (3, 0, 5, 2, 4, 1):
            calls[number].terminate()
            assert calls[number].communicate(timeout=60)[0] == b"caught\n"
            assert calls[number].returncode == 9
            assert all(other.poll() is None for other in calls if other.returncode is None)

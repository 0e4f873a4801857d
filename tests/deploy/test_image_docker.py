"""The image in a real Docker Engine: what `docker run`, `stop`, `kill` and `restart` do to it. `make containers`."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from tests.servers.container import PATIENCE_S, UID, Container, call, container, new_volume
from tests.servers.dockerd import IMAGE as BASE
from tests.servers.dockerd import ROOT, Engine
from tests.servers.terminal import at_terminal
from tests.waiting import wait_until

pytestmark = pytest.mark.long

MAX_OVER_BASE_BYTES = 250_000_000
KEY = "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="


# -- what it is run with -----------------------------------------------------------------------------------------------


def test_no_argument_is_hermesd_whose_status_is_the_containers(docker: Engine, image: str) -> None:
    """In the foreground, its log in `docker logs`; ended by itself, by `docker stop`, and by a wrong configuration."""
    with container(docker, image) as found:
        assert '"ready, profiles: 1' in found.logs()
        found.exec(
            "hermesctl", "stop", check=False
        )  # which may end with the container before it can say that it worked
        assert found.wait() == 0
        docker.run("start", found.name)
        found.ready()
        docker.run("stop", "--time", "30", found.name)
        assert found.state("ExitCode") == "0"
    volume = new_volume()
    with container(docker, image, "sleep", "infinity", flags=volume) as found:
        found.sh("echo 'modle: x' > config.yaml")
    status, said = call(docker, image, flags=volume)
    assert (status, "modle" in said) == (78, True), said


def test_a_verb_is_hermesctls_with_its_status_and_output(docker: Engine, image: str) -> None:
    """Nothing of the daemon's log gets between; a status other than 0 comes back too."""
    status, said = call(docker, image, "chat", "-q", "hello")
    assert (status, said.splitlines()[0]) == (
        0,
        "I am hermesd's offline stand-in, not a language model: I answer by fixed rules. You wrote: 'hello'.",
    )
    assert call(docker, image, "-p", "nobody", "chat", "-q", "hello")[0] == 1
    status, said = call(docker, image, "nonsense")
    assert (status, "there is no verb 'nonsense'" in said) == (2, True)
    assert call(docker, image, "chat", flags=("--interactive",), stdin="piped")[0] == 0


def test_any_other_program_is_run_as_it_is(docker: Engine, image: str) -> None:
    """As the user hermes, with its status, its pipes and the signal that ended it."""
    assert call(docker, image, "bash", "-c", "id -u; exit 37") == (37, f"{UID}\n")
    assert call(docker, image, "true") == (0, "")
    assert call(docker, image, "cat", flags=("--interactive",), stdin="through\n") == (0, "through\n")
    assert call(docker, image, "sh", "-c", "kill -KILL $$")[0] == 128 + 9
    assert call(docker, image, "echo", "two  blanks", "$(id)", "a'b\"c", "") == (0, "two  blanks $(id) a'b\"c \n")
    assert call(docker, image, "hermesd", "--version")[0] == 0


def test_a_sandbox_has_its_daemon_beside_it_and_ends_at_once(docker: Engine, image: str) -> None:
    """`sleep infinity`: `docker exec` finds hermesd ready; `docker stop` need not wait for its limit."""
    with container(docker, image, "sleep", "infinity") as found:
        assert found.exec("hermesctl", "chat", "-q", "hello").returncode == 0
        assert found.exec("hermesctl", "stop").returncode == 0
        assert found.state("Running") == "true", "the daemon is not what this container is for"
        docker.run("stop", "--time", "60", found.name)
        assert found.state("ExitCode") == str(128 + 15)


def test_terminal_is_a_real_one(docker: Engine, image: str) -> None:
    """Its width, a resize, Ctrl-C that reaches the program and not the tree, and the chat."""
    run = ["docker", "run", "--rm", "--network=host", "-it"]
    with at_terminal([*run, "-e", "COLUMNS=123", image, "tput", "cols"], docker.env) as terminal:
        assert terminal.wait() == 0
        assert terminal.seen.strip() == "123"
    with at_terminal([*run, image, "bash", "--norc", "-i"], docker.env, columns=123) as terminal:
        terminal.expect("$ ")
        terminal.type("tty; stty size; : > $(tty) && echo own\r")
        terminal.expect("/dev/pts/0")
        terminal.expect("40 123")
        terminal.expect("own\n")
        terminal.type("sh -c 'trap \"stty size; exit\" WINCH; echo waits; while :; do sleep 9 & wait; done'\r")
        terminal.expect("waits\n")
        terminal.resize(30, 91)
        terminal.expect("30 91\n")
        terminal.type("sh -c 'trap \"echo caught; exit 130\" INT; echo begun; while :; do sleep 9 & wait; done'\r")
        terminal.expect("begun\n")
        terminal.type("\x03")
        terminal.expect("caught\n")
        terminal.expect("$ ")
        terminal.type("echo st=$?; exit 5\r")
        terminal.expect("st=130")
        assert terminal.wait() == 5
    with at_terminal([*run, "-e", "PROMPT_TOOLKIT_NO_CPR=1", image, "--tui"], docker.env) as terminal:
        terminal.expect("›")
        terminal.type("hello\r")
        terminal.expect("You wrote: 'hello'")
        terminal.expect("\x1b[?2004h")  # it reads keys again
        terminal.expect("›")
        terminal.type("\x04")
        assert terminal.wait() == 0
    with at_terminal([*run, image], docker.env) as terminal:
        terminal.expect("ready, profiles: 1")
        terminal.type("\x03")
        assert terminal.wait() == 0
        assert '"stopped"' in terminal.seen, "in order, not by the end of process 1"


# -- what becomes of it ------------------------------------------------------------------------------------------------


def test_restart_keeps_running_profiles_running_and_stopped_ones_stopped(docker: Engine, image: str) -> None:
    """And so does a kill: what is to run is kept with the profile. What was done at the start stands in boot.log."""
    with container(docker, image) as found:
        for name in ("on", "off"):
            found.exec("hermesctl", "profile", "create", name)
            found.exec("hermesctl", "gateway", "start", name)
        found.exec("hermesctl", "gateway", "stop", "off")
        before = gateways(found)
        assert before == {"default": "stopped", "on": "running", "off": "stopped"}
        docker.run("restart", "--time", "30", found.name)
        found.ready()
        assert gateways(found) == before
        docker.run("kill", "--signal", "KILL", found.name)
        assert found.wait() == 128 + 9
        docker.run("start", found.name)
        found.ready()
        assert gateways(found) == before
        boot = found.sh("cat logs/boot.log")
        assert boot.count("container: starting as daemon") == 3
        assert boot.count("container: removed hermesd.pid and hermesd.sock of a daemon that is gone") == 1
        assert boot.count("on: starting, as desired") == 2
        assert "off: starting" not in boot


def gateways(found: Container) -> dict[str, str]:
    rows = json.loads(found.exec("hermesctl", "--json", "gateway", "list").stdout)
    return {row["name"]: row["state"] for row in rows["profiles"]}


def test_kill_of_the_container_loses_nothing_that_was_accepted(docker: Engine, image: str) -> None:
    """A webhook answered 202 while the container is killed is answered by the agent after the next start, once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = (
        "model: offline\nplatforms:\n  webhook:\n    enabled: true\n"
        f"    port: {port}\n    secret: {KEY}\n    routes:\n      slow: {{prompt: 'slow 3', deliver: local}}\n"
    )
    with container(docker, image) as found:
        found.docker.run("exec", "-i", "--user", UID, found.name, "sh", "-c", "cat > config.yaml", input=config)
        found.exec("hermesctl", "reload")
        found.exec("hermesctl", "gateway", "start")
        assert [post(port, name) for name in ("msg_1", "msg_2")] == [202, 202]
        docker.run("kill", "--signal", "KILL", found.name)
        docker.run("start", found.name)
        found.ready()
        assert states(found) == ["done", "done"]


def post(port: int, name: str) -> int:
    body, at = "{}", datetime.now(UTC)
    headers = {
        "webhook-id": name,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(KEY).sign(name, at, body),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with contextlib.closing(connection):
        connection.request("POST", "/webhooks/slow", body, headers)
        return connection.getresponse().status


def states(found: Container) -> list[str]:
    """Of all that was accepted, once all of it has come to rest."""
    return wait_until(lambda: rows_of(found), lambda rows: not {"pending", "running"} & set(rows))


def test_killed_daemon_comes_back_in_the_same_container(docker: Engine, image: str) -> None:
    """s6 starts it again; its output is in the home and in `docker logs`; the health check sees it well."""
    flags = ("--health-interval=1s", "--health-start-period=0s")
    with container(docker, image, flags=flags) as found:
        first = found.sh("cat hermesd.pid")
        found.exec("s6-svc", "-wR", "-T", "30000", "-k", "/run/service/hermesd", user=UID)
        assert found.sh("cat hermesd.pid") != first
        assert found.state("Running") == "true"
        assert found.sh("cat logs/daemon/current").count('"ready, profiles: 1') == 2
        assert found.logs().count('"ready, profiles: 1') == 2
        wait_until(lambda: found.state("Health.Status"), lambda status: status == "healthy", every_s=0.1)


def test_thousand_short_children_leave_neither_zombie_nor_orphan(docker: Engine, image: str) -> None:
    """Case 30 with s6-svscan as process 1: by the agent's tool and by hand; a thousand double forks beside them."""
    with container(docker, image) as found:
        found.sh("printf 'policy: {unsafe: allow, tools: {terminal: allow}}\\n' > config.yaml")
        found.exec("hermesctl", "reload")
        before = processes(found)
        burst = "i=0; while [ $i -lt 1000 ]; do true & (true &); i=$((i+1)); done; wait"
        found.sh(burst)
        stay = "(sleep 3000 &); setsid sleep 3000 & echo made"
        assert "made" in found.exec("hermesctl", "chat", "-q", f"$ {burst}; {stay}").stdout
        wait_until(lambda: processes(found) - before, lambda left: not left, every_s=0.1)
        assert found.sh("cat /proc/1/comm") == "s6-svscan"


def processes(found: Container) -> set[str]:
    """Id and name of everything but who looks, dead ones included."""
    listing = "for p in /proc/[0-9]*; do [ ${p#/proc/} = $$ ] || cat $p/stat 2>/dev/null; done"
    rows = [line.split(" (", 1) for line in found.sh(f"{listing}; true").splitlines()]
    return {f"{pid} {rest.rpartition(')')[0]}" for pid, rest in rows if not rest.startswith("cat)")}


def test_stop_with_a_turn_under_way_is_in_order_within_dockers_ten_seconds(docker: Engine, image: str) -> None:
    """What still drains is parked before Docker would kill, and taken up at the next start."""
    with container(docker, image) as found:
        docker.run("exec", "--detach", "--user", UID, found.name, "hermesctl", "chat", "-q", "slow 9000")
        wait_until(lambda: rows_of(found), lambda rows: rows == ["running"])
        docker.run("stop", found.name)
        assert found.state("ExitCode") == "0", "137 would be Docker's SIGKILL"
        docker.run("start", found.name)
        found.ready()
        assert rows_of(found) == ["running"]
        assert '"stopped"' in found.logs()


def rows_of(found: Container) -> list[str]:
    """The states of all that was accepted."""
    rows = json.loads(found.exec("hermesctl", "--json", "inbox", "--all").stdout)["rows"]
    return [row["state"] for row in rows]


def test_stop_during_the_start_is_heeded(docker: Engine, image: str) -> None:
    """While no daemon runs there is nothing to put in order. Between two scripts it is deaf, so told twice."""
    with container(docker, image, wait=False) as found:
        deadline = time.monotonic() + PATIENCE_S
        while found.state("Running") == "true":
            assert time.monotonic() < deadline, found.logs()
            docker.run("kill", "--signal", "TERM", found.name, check=False)
        assert found.state("ExitCode") in ("0", "143")


def test_log_that_cannot_be_written_keeps_nothing_from_starting(docker: Engine, image: str) -> None:
    """A pipe in the place of boot.log would block the first script, which is process 1."""
    volume = new_volume()
    assert call(docker, image, "sh", "-c", "rm -f logs/boot.log; mkfifo logs/boot.log", flags=volume)[0] == 0
    with container(docker, image, flags=volume) as found:
        assert "You wrote: 'hello'" in found.exec("hermesctl", "chat", "-q", "hello").stdout


def test_health_check_sees_a_daemon_that_is_down(docker: Engine, image: str) -> None:
    """And that it is back."""
    flags = ("--health-interval=1s", "--health-start-period=1ms", "--health-retries=1")
    with container(docker, image, flags=flags) as found:
        for action, expected in (("stop", "unhealthy"), ("start", "healthy")):
            found.exec("hermesctl", "service", action)
            wait_until(functools.partial(found.state, "Health.Status"), expected.__eq__, every_s=0.1)
        assert found.state("Running") == "true"


def test_everything_inside_is_the_user_hermes(docker: Engine, image: str) -> None:
    """Process 1 too; so its user makes profiles, controls services, and root's `docker exec` leaves no file."""
    with container(docker, image) as found:
        owners = found.exec(
            "sh", "-c", "for p in /proc/[0-9]*; do [ ${p#/proc/} = $$ ] || stat -c %u $p; done 2>/dev/null"
        )
        assert UID in owners.stdout
        assert found.sh("stat -c %u /proc/1") == UID
        found.exec("hermesctl", "profile", "create", "made", user=UID)
        found.exec("hermesctl", "profile", "delete", "made", "--yes", user=UID)
        found.exec("hermesctl", "chat", "-q", "hello")
        assert found.sh("find /opt/data /run/service ! -user hermes") == ""
        assert found.sh("stat -c '%a' /opt/data") == "700"


# -- the volume --------------------------------------------------------------------------------------------------------


def test_second_container_with_the_same_volume_uses_the_first_ones_daemon(docker: Engine, image: str) -> None:
    """Its lock tells a pid file that is alive from one of a dead container; only the latter is removed."""
    volume = new_volume()
    with container(docker, image, flags=volume) as found:
        before = found.sh("cat hermesd.pid; stat -c %i hermesd.sock hermesd.pid")
        assert call(docker, image, "chat", "-q", "hello", flags=volume)[0] == 0
        status, said = call(docker, image, flags=volume)
        assert (status, "already runs on this home" in said) == (1, True), said
        assert found.sh("cat hermesd.pid; stat -c %i hermesd.sock hermesd.pid") == before
        assert found.exec("hermesctl", "status").returncode == 0
        assert "another hermesd runs on this home" in found.sh("cat logs/boot.log")


def test_directory_of_the_host_is_taken_when_it_is_new_and_refused_when_it_is_somebodys(
    docker: Engine, image: str, tmp_path: Path
) -> None:
    """Docker makes a missing one as root; another user's is left alone, with the way out named."""
    assert call(docker, image, "version", flags=("--volume", f"{tmp_path}/new:/opt/data"))[0] == 0
    assert (tmp_path / "new").stat().st_uid == int(UID)
    (tmp_path / "theirs").mkdir()
    os.chown(tmp_path / "theirs", 1234, 1234)
    status, said = call(docker, image, flags=("--volume", f"{tmp_path}/theirs:/opt/data"))
    assert (status, said) == (
        78,
        "hermesd: /opt/data: belongs to uid 1234\n  → chown -R 10000:10000 the directory that is mounted there\n",
    )
    assert (tmp_path / "theirs").stat().st_uid == 1234
    status, said = call(docker, image, "version", flags=("--env", "HERMES_HOME=/etc"))
    assert (status, said.splitlines()[0]) == (78, "hermesd: /etc: is a directory of the image")
    assert call(docker, image, "version", flags=("--env", "HERMES_HOME=/srv/agents"))[0] == 0
    assert call(docker, image, "version", flags=("--user", UID))[0] == 0


def test_boot_log_is_turned_over_at_256_kib(docker: Engine, image: str) -> None:
    """The former one is boot.log.1; there is never a third."""
    volume = new_volume()
    fill = "head -c 262144 /dev/zero | tr '\\0' x > logs/boot.log; echo old > logs/boot.log.1"
    assert call(docker, image, "sh", "-c", fill, flags=volume)[0] == 0
    status, said = call(
        docker, image, "sh", "-c", "wc -c < logs/boot.log.1; wc -l < logs/boot.log; ls logs", flags=volume
    )
    assert status == 0
    assert said.split()[:2] == ["262144", "1"]
    assert "boot.log.2" not in said


def compose() -> list[str]:
    """`docker compose`, or the program of its first version; SkipTest without either."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("compose is not installed: apt-get install docker-compose")


def test_compose_file_brings_it_up_and_takes_it_down_in_order(docker: Engine, image: str, tmp_path: Path) -> None:
    """As it is, without new privileges and with a volume; only the network is this engine's, which has no bridge."""
    docker.run("tag", image, "hermesd")
    (tmp_path / "here.yaml").write_text("services: {hermesd: {network_mode: host}}\n")
    project = f"hermesd{os.urandom(4).hex()}"
    files = ["--file", str(ROOT / "docker/compose.yaml"), "--file", str(tmp_path / "here.yaml")]
    command = [*compose(), "--project-name", project, *files]

    def composed(*words: str) -> str:
        done = subprocess.run(
            [*command, *words], env=docker.env, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    try:
        composed("up", "--detach", "--no-build")
        found = Container(docker, composed("ps", "-q").strip())
        found.ready()
        assert "You wrote: 'hello'" in found.exec("hermesctl", "chat", "-q", "hello").stdout
        composed("stop")
        assert found.state("ExitCode") == "0"
        composed("start")
        found.ready()
        assert rows_of(found) == ["done"]
    finally:
        composed("down", "--volumes")


def test_image_is_small(docker: Engine, image: str) -> None:
    """At most 250 MB over its base, with Python and git."""
    sizes = [int(docker.run("image", "inspect", "--format", "{{.Size}}", name).stdout) for name in (image, BASE)]
    assert sizes[0] - sizes[1] <= MAX_OVER_BASE_BYTES
    assert call(docker, image, "git", "--version")[0] == 0
    assert call(docker, image, "sh", "-c", "! command -v pip")[0] == 0

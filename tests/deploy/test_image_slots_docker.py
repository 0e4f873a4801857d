"""Profiles that are processes of their own, in the image and a real Docker Engine: `make containers`.

Everything is called as the user hermes (uid 10000), who has no rights but his own.
"""

from __future__ import annotations

import json

import pytest

from tests.servers.container import UID, Container, container
from tests.servers.dockerd import Engine

pytestmark = pytest.mark.long

SLOT = "/run/service/gateway-coder"
LOG = "logs/gateways/coder"


def ctl(found: Container, *words: str) -> str:
    """hermesctl inside, which must succeed."""
    return found.exec("hermesctl", *words, user=UID).stdout


def apart(found: Container, name: str) -> None:
    """A profile with a process of its own, which is to be stopped."""
    ctl(found, "profile", "create", name)
    ctl(found, "-p", name, "config", "set", "isolation", "process")
    ctl(found, "reload")


def states(found: Container) -> dict[str, str]:
    rows = json.loads(ctl(found, "--json", "gateway", "list"))["profiles"]
    return {row["name"]: row["state"] for row in rows}


def stat(found: Container, slot: str, fields: str = "up,wantedup") -> list[str]:
    return found.exec("s6-svstat", "-o", fields, slot, user=UID).stdout.split()


def test_a_profile_gets_its_slot_is_controlled_and_goes_with_it(docker: Engine, image: str) -> None:
    """Made, started, killed, restarted, stopped, deleted by the unprivileged user; slot and log go with the profile."""
    with container(docker, image) as found:
        apart(found, "coder")
        assert stat(found, SLOT) == ["false", "false"]
        assert found.sh("ls -A /run/service").split() == [".container", ".s6-svscan", "gateway-coder", "hermesd"]
        assert ctl(found, "gateway", "start", "-p", "coder") == "started: coder\n"
        assert stat(found, SLOT) == ["true", "true"]
        (first,) = stat(found, SLOT, "pid")
        assert found.sh(f"stat -c %u /proc/{first}") == UID
        assert found.sh("cat profiles/coder/hermesd.pid") == first
        assert "You wrote: 'hello'" in ctl(found, "-p", "coder", "chat", "-q", "hello")
        assert found.sh(f"grep -c 'ready, profiles: 1' {LOG}/current") == "1"

        found.exec("s6-svc", "-wR", "-T", "30000", "-k", SLOT, user=UID)
        assert stat(found, SLOT, "pid") != [first]
        (second,) = stat(found, SLOT, "pid")
        assert ctl(found, "gateway", "restart", "-p", "coder") == "restarted: coder\n"
        assert stat(found, SLOT, "pid") not in ([first], [second])
        assert ctl(found, "gateway", "stop", "-p", "coder") == "stopped: coder\n"
        assert stat(found, SLOT) == ["false", "false"]
        assert states(found) == {"default": "stopped", "coder": "stopped"}

        ctl(found, "gateway", "start", "-p", "coder")
        ctl(found, "profile", "delete", "coder", "--yes")
        assert found.sh("ls -A /run/service").split() == [".container", ".s6-svscan", "hermesd"]
        assert found.sh(f"test ! -e {LOG} && test ! -e profiles/coder && echo gone") == "gone"
        words = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
        assert found.sh(f"{words} | grep -c 'gateway[-]coder' || true") == "0"
        assert found.sh("find /opt/data /run/service ! -user hermes") == ""
        assert found.state("Running") == "true"


def test_restart_of_the_container_makes_the_slots_anew_as_they_were(docker: Engine, image: str) -> None:
    """Running stays running and stopped stays stopped, after a stop and after a kill; boot.log tells what was done."""
    with container(docker, image) as found:
        for name in ("coder", "writer"):
            apart(found, name)
            ctl(found, "gateway", "start", "-p", name)
        ctl(found, "gateway", "stop", "-p", "writer")
        before = states(found)
        assert before == {"default": "stopped", "coder": "running", "writer": "stopped"}
        docker.run("restart", "--time", "30", found.name)
        found.ready()
        came_back(found)
        docker.run("kill", "--signal", "KILL", found.name)
        docker.run("start", found.name)
        found.ready()
        came_back(found)
        assert states(found) == before
        starts = found.sh("cat logs/boot.log").split("container: starting as daemon")[2:]
        assert len(starts) == 2
        for told in starts:
            assert "coder: desired running, last running, slot none: register, start" in told
            assert "writer: desired stopped, last stopped, slot none: register\n" in told + "\n"
        left = ["coder: removed hermesd.pid of a process that is gone" in told for told in starts]
        assert left == [False, True], "a stop leaves none"


def came_back(found: Container) -> None:
    """The one that ran is ready again, the other one has a slot that is down."""
    found.exec("s6-svwait", "-U", "-t", "60000", SLOT, user=UID)
    assert stat(found, "/run/service/gateway-writer") == ["false", "false"]


def test_every_gateway_is_started_and_stopped_at_once(docker: Engine, image: str) -> None:
    """``--all`` means tasks and processes alike, and s6 is told: nothing comes back by itself."""
    with container(docker, image) as found:
        apart(found, "coder")
        ctl(found, "profile", "create", "task")
        ctl(found, "gateway", "start", "--all")
        assert set(states(found).values()) == {"running"}
        (first,) = stat(found, SLOT, "pid")
        ctl(found, "gateway", "restart", "--all")
        assert stat(found, SLOT, "pid") != [first]
        ctl(found, "gateway", "stop", "--all")
        assert set(states(found).values()) == {"stopped"}
        assert stat(found, SLOT) == ["false", "false"]


def test_what_goes_wrong_is_said_with_the_way_out(docker: Engine, image: str) -> None:
    """A start that fails names the log; a service that s6 does not know, how it would become one."""
    with container(docker, image) as found:
        apart(found, "coder")
        found.sh("echo 'modle: x' >> profiles/coder/config.yaml")
        done = found.exec("hermesctl", "gateway", "start", "-p", "coder", user=UID, check=False)
        assert done.returncode == 1
        assert f"/opt/data/{LOG}/current" in done.stderr
        assert "modle" in found.sh(f"cat {LOG}/current")
        assert stat(found, SLOT) == ["false", "false"], "78 is not tried again"


def test_service_verbs_leave_the_container_running(docker: Engine, image: str) -> None:
    """``hermesctl service restart|status|logs``, and ``s6-svc -r`` by hand; only a stop ends it, with 0."""
    with container(docker, image) as found:
        first = found.sh("cat hermesd.pid")
        assert ctl(found, "service", "restart") == "hermesd was restarted\n"
        second = found.sh("cat hermesd.pid")
        found.exec("s6-svc", "-wR", "-T", "60000", "-r", "/run/service/hermesd", user=UID)
        assert len({first, second, found.sh("cat hermesd.pid")}) == 3
        assert found.exec("hermesctl", "service", "status").stdout.startswith("service  ready\n")
        assert ctl(found, "service", "logs").count("ready, profiles: 1") == 3
        assert found.state("Running") == "true"
        assert found.sh("cat logs/boot.log | wc -l") == "1", "the container has started once"
        found.exec("hermesctl", "stop", check=False)
        assert found.wait() == 0

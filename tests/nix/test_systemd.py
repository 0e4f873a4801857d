"""The unit that Nix renders, under a real systemd: credentials, the activation before the start, a restart for secrets.

`make systemd` runs it, as root.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.nix.evaluation import NEEDS_NIX, NIX, ROOT, Nix, as_nix, rendered
from tests.nix.test_shared_socket import MANAGED
from tests.servers.nspawn import Machine, machine
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.systemd,
    NEEDS_NIX,
    pytest.mark.skipif(
        not (ROOT / "hermesctl" / "commands" / "activate.py").exists(), reason="hermesctl activate is not in this tree"
    ),
]
LIBRARY = f"(import {NIX}/lib/unit.nix)"
STATE = "/var/lib/hermes"
HOME = f"{STATE}/.hermes"
SECRET = "/etc/hermes-secret"
UNIT = "hermes-agent.service"


@pytest.fixture(scope="module")
def vm() -> Iterator[Machine]:
    """A booted machine with the directories that the module's tmpfiles rules make."""
    if not shutil.which("systemd-nspawn"):
        pytest.skip("systemd-nspawn is not installed")
    with machine() as found:
        found.run("install", "-d", "-m750", "-oroot", "-gbob", STATE)
        for directory in (HOME, f"{STATE}/home", f"{STATE}/workspace"):
            found.run("install", "-d", "-m750", "-obob", "-gbob", directory)
        yield found


def put(vm: Machine, path: str, text: str, mode: str = "0644") -> None:
    """A file of root's."""
    vm.run("sh", "-c", 'printf %s "$2" > "$1" && chmod "$3" "$1"', "sh", path, text, mode)


def switch(vm: Machine, nix: Nix, **declared: Any) -> None:
    """What `nixos-rebuild switch` does: a manifest at a path of its own, the units that name it, and a restart."""
    files = {"environmentFiles": ["credential:env-0"]}
    options = {"user": "bob", "group": "bob", "settings": {"model": {"default": "offline"}}}
    text = json.dumps(rendered(nix, options | files | declared)["activate"])
    manifest = f"/etc/hermes-{abs(hash(text))}.json"
    put(vm, manifest, text)
    service = {
        "scope": "system",
        "name": "hermes-agent",
        "owner": "bob",
        "user": "bob",
        "group": "bob",
        "package": "/usr/local",
        "manifest": manifest,
        "home": HOME,
        "variables": {"HOME": f"{STATE}/home", "HERMES_MANAGED": "true"},
        "credentials": {"env-0": SECRET},
        "writable": [HOME, f"{STATE}/home", f"{STATE}/workspace"],
    }
    socket = {
        "scope": "system",
        "owner": "bob",
        "user": "bob",
        "group": "bob",
        "path": "/run/hermesd/hermesd.sock",
        "link": f"{HOME}/hermesd.sock",
        "shared": True,
    }
    for name, made in (("service", f"service {as_nix(service)}"), ("socket", f"socket {as_nix(socket)}")):
        put(vm, f"/etc/systemd/system/hermes-agent.{name}", nix.evaluate(f"{LIBRARY}.text ({LIBRARY}.{made})"))
    vm.systemctl("daemon-reload")
    vm.systemctl("reset-failed", check=False)
    vm.run("systemctl", "restart", UNIT, timeout_s=330)


@pytest.fixture
def running(vm: Machine, nix: Nix) -> Machine:
    """The service with the first secret."""
    vm.run("rm", "-f", f"{HOME}/config.yaml", f"{HOME}/.env", f"{HOME}/gateway_state.json")
    put(vm, SECRET, "GREETING=first\n", "0400")
    shared = {"group": "bob", "roles": ["read", "chat"]}  # as addToSystemPackages has it
    switch(vm, nix, settings={"agent": {"max_turns": 7}, "model": {"default": "offline"}, "rpc": shared})
    return vm


def test_it_is_ready_activated_and_little_exposed(running: Machine) -> None:
    """The secret is root's alone and reaches .env all the same; the agent's user owns what was written."""
    assert running.shown("ActiveState", UNIT) == "active"
    env = running.path(f"{HOME}/.env")
    assert "GREETING=first" in env.read_text()
    assert (env.stat().st_uid, env.stat().st_mode & 0o777) == (1001, 0o600)
    assert "max_turns: 7" in running.path(f"{HOME}/config.yaml").read_text()
    said = running.run("systemd-analyze", "security", "hermes-agent").stdout
    found = re.search(r"exposure level for hermes-agent.service: ([0-9.]+)", said)
    assert found
    assert float(found[1]) <= 1.5
    socket = running.path("/run/hermesd/hermesd.sock").stat()
    assert (socket.st_uid, socket.st_mode & 0o777) == (1001, 0o660)
    assert running.run("hermesctl", "status", user="bob", HERMES_HOME="/run/hermesd").returncode == 0
    assert running.run("hermesctl", "status", user="ada", HERMES_HOME="/run/hermesd", check=False).returncode == 69


def test_its_platforms_are_up_and_nobody_had_to_start_them(running: Machine, nix: Nix) -> None:
    """A signed request is taken; a gateway that a person stops stays down over the next start of the service."""
    settings = {"model": {"default": "offline"}, "platforms": {"webhook": {"enabled": True}}}
    switch(running, nix, settings=settings, webhooks={"alerts": {"prompt": "An alert: {__raw__}"}})
    said = running.run("hermesctl", "webhook", "test", "alerts", user="bob", HERMES_HOME=HOME).stdout
    assert "202" in said
    running.run("hermesctl", "gateway", "stop", user="bob", HERMES_HOME=HOME)
    running.systemctl("restart", UNIT)
    found = running.run("hermesctl", "gateway", "list", "--json", user="bob", HERMES_HOME=HOME).stdout
    assert [row["desired"] for row in json.loads(found)["profiles"]] == ["stopped"]


def test_what_is_declared_is_guarded_wherever_it_is_tried(running: Machine) -> None:
    """As the service itself would, with its environment; and in the shell of a member of the group."""
    pid = running.shown("MainPID", UNIT)
    variables = running.path(f"/proc/{pid}/environ").read_text().strip("\0").split("\0")
    assert "HERMES_MANAGED=true" in variables
    service = ("env", "-i", *variables, "setpriv", "--reuid=1001", "--regid=1001", "--clear-groups", "hermesctl")
    assert is_refusal(running.run(*service, "config", "set", "agent.max_turns", "3", check=False))
    assert running.run(*service, "config", "set", "timezone", "UTC").returncode == 0
    put(running, "/run/hermesd/.managed", MANAGED)
    running.run("gpasswd", "-a", "ada", "bob")
    ada = ("setpriv", "--reuid=1000", "--regid=1000", "--init-groups")
    person = (*ada, "env", "HERMES_HOME=/run/hermesd", "hermesctl")
    assert running.run(*person, "status").returncode == 0
    assert is_refusal(running.run(*person, "config", "set", "agent.max_turns", "3", check=False))
    assert is_refusal(running.run(*person, "setup", check=False))


def is_refusal(done: subprocess.CompletedProcess[str]) -> bool:
    """With the status, the manager and the command that brings a change about."""
    return done.returncode == 78 and "managed by NixOS" in done.stderr and "sudo nixos-rebuild switch" in done.stderr


def test_a_restart_rotates_the_secret_and_keeps_what_is_the_users(running: Machine) -> None:
    """Declared keys are guarded with 78 meanwhile."""
    set_key = ("hermesctl", "config", "set")
    refused = running.run(*set_key, "agent.max_turns", "3", user="bob", HERMES_HOME=HOME, check=False)
    assert refused.returncode == 78
    running.run(*set_key, "timezone", "UTC", user="bob", HERMES_HOME=HOME)
    put(running, SECRET, "GREETING=second\n", "0400")
    running.systemctl("restart", UNIT)
    text = running.path(f"{HOME}/.env").read_text()
    assert "second" in text
    assert "first" not in text
    assert "UTC" in running.path(f"{HOME}/config.yaml").read_text()


def test_another_declaration_is_taken_up(running: Machine, nix: Nix) -> None:
    """What is no longer declared goes."""
    switch(running, nix, settings={"model": {"default": "offline"}, "toolsets": ["files"]})
    text = running.path(f"{HOME}/config.yaml").read_text()
    assert "toolsets" in text
    assert "max_turns" not in text


def test_a_link_in_the_way_is_refused_and_what_it_leads_to_untouched(running: Machine) -> None:
    """The agent can plant it; nothing of root's follows it."""
    put(running, "/etc/roots", "model: {default: offline}\n", "0644")  # all that could stop it is the link
    running.run("sh", "-c", f"rm {HOME}/config.yaml; ln -s /etc/roots {HOME}/config.yaml", user="bob")
    assert running.run("systemctl", "restart", UNIT, check=False).returncode != 0
    assert running.path("/etc/roots").read_text() == "model: {default: offline}\n"
    assert running.path("/etc/roots").stat().st_uid == 0
    running.systemctl("stop", UNIT, "hermes-agent.socket", check=False)
    running.run("rm", f"{HOME}/config.yaml")


def test_a_home_that_cannot_be_made_is_tried_ten_times_and_then_failed(running: Machine) -> None:
    """systemd has no status of ExecStartPre= that prevents a restart; what ends the tries is the limit of starts."""
    running.run("sh", "-c", f"rm {HOME}/config.yaml; ln -s /etc/roots {HOME}/config.yaml", user="bob")
    running.run("mkdir", "-p", f"/etc/systemd/system/{UNIT}.d")
    put(running, f"/etc/systemd/system/{UNIT}.d/soon.conf", "[Service]\nRestartSec=0\n")
    running.systemctl("daemon-reload")
    running.systemctl("stop", UNIT)
    running.systemctl("reset-failed", UNIT, check=False)
    assert running.run("systemctl", "start", UNIT, check=False).returncode != 0
    wait_until(lambda: running.shown("ActiveState", UNIT), lambda state: state == "failed", every_s=0.2)
    assert running.shown("RestartPreventExitStatus", UNIT) == "78"
    assert running.shown("NRestarts", UNIT) == "10"
    said = running.run("journalctl", "--unit", UNIT, "--lines=20", "--output=cat").stdout
    assert "config.yaml: is a symbolic link" in said
    running.systemctl("stop", "hermes-agent.socket", check=False)
    running.run("rm", "-r", f"{HOME}/config.yaml", f"/etc/systemd/system/{UNIT}.d")


def test_without_its_secret_it_does_not_start(running: Machine) -> None:
    """systemd says so itself."""
    running.run("rm", SECRET)
    assert running.run("systemctl", "restart", UNIT, check=False).returncode != 0
    running.systemctl("stop", UNIT, "hermes-agent.socket", check=False)

"""``hermesctl container`` with a real Docker Engine: what is created when, and what persists across what."""

from __future__ import annotations

import functools
import json
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hermesd.deploy.container.entrypoint import DEFAULT
from tests.servers.dockerd import Engine, runtime_mounts, write_package
from tests.waiting import wait_until

UID = 10000
NAME = "hermes-agent-host"
ASLEEP = "echo hermes:x:10000:10000::/home/hermes:/bin/sh >>/etc/passwd; exec sleep infinity"
"""An entrypoint for tests that need no daemon."""


@dataclass
class Host:
    """A host with a manifest. ``declared`` is changed by a test, and takes effect with ``ensure``."""

    docker: Engine
    place: Path
    declared: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.place / "state"

    @property
    def container(self) -> dict[str, Any]:
        found: dict[str, Any] = self.declared["container"]
        return found

    def verb(self, action: str, *words: str) -> subprocess.CompletedProcess[str]:
        manifest = self.place / "manifest.json"
        manifest.write_text(json.dumps(self.declared))
        return self.ctl("container", action, "--manifest", str(manifest), *words)

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hermesctl", *words],
            env={**self.docker.env, "HERMES_HOME": str(self.state / ".hermes")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def done(self, action: str, *words: str) -> str:
        """The output of an action that must succeed."""
        found = self.verb(action, *words)
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    def id(self) -> str:
        return self.docker.run("inspect", "-f", "{{.Id}}", NAME).stdout.strip()

    def inside(self, script: str, user: str = "root") -> str:
        return self.docker.run("exec", "-u", user, NAME, "sh", "-c", script).stdout

    def leave_traces(self) -> None:
        """One file in the state, one in the agent's home, one in the writable layer."""
        self.inside("echo state > /data/workspace/trace; echo home > /home/hermes/trace", user="hermes")
        self.inside("echo layer > /usr/local/trace")

    def traces(self) -> str:
        return self.inside("cat /data/workspace/trace /home/hermes/trace /usr/local/trace 2>/dev/null; true")

    def await_daemon(self) -> None:
        wait_until(lambda: self.ctl("status"), lambda found: found.returncode == 0, every_s=0.1)


@pytest.fixture
def host(docker: Engine, tmp_path: Path) -> Iterator[Host]:
    """A manifest of one container, which is not there yet."""
    package = write_package(tmp_path / "package-1")
    container = {"image": "base:1", "pull": "never", "store": [*runtime_mounts(), str(tmp_path)], "name": NAME}
    found = Host(docker, tmp_path)
    tmp_path.chmod(0o755)
    found.declared = {
        "schema": 1,
        "package": str(package),
        "stateDir": str(found.state),
        "container": container,
    }
    yield found
    for name in (NAME, f"{NAME}.next"):
        docker.run("rm", "-f", name, check=False)


def test_ensure_twice_creates_once_and_the_host_is_answered_from_inside(host: Host) -> None:
    """The second call changes nothing; hermesctl on the host finds its way by the marker."""
    assert "hermes-agent-host: created" in host.done("ensure")
    first = host.id()
    assert host.done("ensure") == "hermes-agent-host: kept\n"
    assert host.id() == first
    assert host.verb("status").returncode == 1
    host.done("start")
    host.await_daemon()
    assert "/data/.hermes" in host.ctl("status", "--json").stdout
    assert host.verb("status").stdout == "hermes-agent-host: running, as declared\n"
    assert host.inside("id -u; id -g", user="hermes") == "10000\n10000\n"
    assert (host.state / ".hermes/state.db").stat().st_uid == UID
    assert host.done("exec", "-u", "root", "--", "id", "-u") == "0\n"
    assert host.verb("exec", "--", "sh", "-c", "exit 37").returncode == 37
    host.done("stop")
    assert host.verb("status").stdout == "hermes-agent-host: exited, as declared\n"


def test_what_is_not_baked_in_keeps_the_container_and_its_writable_layer(host: Host) -> None:
    """Another package, another environment, a restart of it and of its host: all is there afterwards."""
    host.container["entrypoint"] = ASLEEP
    host.done("ensure")
    host.done("start")
    first = host.id()
    host.leave_traces()
    host.declared["package"] = str(write_package(host.place / "package-2"))
    (host.place / "secrets.env").write_text("TOKEN='a b'\n")
    host.declared["env"] = {"values": {"MODE": "quiet"}, "files": [str(host.place / "secrets.env")]}
    assert host.done("ensure").splitlines()[-1] == f"{NAME}: kept"
    assert host.inside("readlink /data/current-package").strip() == host.declared["package"]
    host.done("stop")
    host.done("start")
    assert host.id() == first
    assert host.traces() == "state\nhome\nlayer\n"
    host.docker.restart()
    assert host.verb("status").stdout == f"{NAME}: exited, as declared\n"
    host.done("start")
    assert host.id() == first
    assert host.traces() == "state\nhome\nlayer\n"
    assert host.inside("tail -n +2 /data/.hermes/.env", user="hermes") == "MODE=quiet\nTOKEN='a b'\n"


def test_what_is_baked_in_recreates_the_container_and_loses_only_the_writable_layer(host: Host) -> None:
    """Another image, volume or option: state and home are there afterwards; it runs again without being told."""
    host.container["entrypoint"] = ASLEEP
    host.done("ensure")
    host.done("start")
    (host.place / "more").mkdir()
    for changed in (
        {"image": "base:2"},
        {"extraVolumes": [f"{host.place / 'more'}:/more:rw"], "extraOptions": ["--env", "MORE=1"]},
    ):
        before = host.id()
        host.leave_traces()
        host.container.update(changed)
        assert host.done("ensure").splitlines()[-1] == f"{NAME}: recreated"
        assert host.id() != before
        assert host.traces() == "state\nhome\n"
    assert host.inside("ls -d /more; echo $MORE") == "/more\n1\n"
    assert host.done("ensure") == f"{NAME}: kept\n"
    before = host.id()
    host.leave_traces()
    assert host.done("recreate").splitlines()[-1] == f"{NAME}: recreated"
    assert host.id() != before
    assert host.traces() == "state\nhome\n"


@pytest.mark.long
def test_a_package_in_a_nix_store_outlives_the_garbage_collector(host: Host) -> None:
    """A real Nix: a root below the state directory keeps it, and the container is kept as it is."""
    if not shutil.which("nix-store"):
        pytest.skip("nix is not installed")
    store = functools.partial(subprocess.run, capture_output=True, text=True, timeout=120, check=False)
    added = store(["nix-store", "--add", host.declared["package"]])
    if added.returncode:
        pytest.skip(f"nothing can be added to its store: {added.stderr.strip()[:200]}")
    package = added.stdout.strip()
    try:
        host.declared["package"] = package
        host.container["entrypoint"] = ASLEEP
        host.done("ensure")
        host.done("start")
        first = host.id()
        host.leave_traces()
        (host.state / ".gc-root").unlink()
        host.done("ensure")  # a root that has gone comes back
        kept = store(["nix-store", "--delete", package])  # what collecting does with each path, for this one only
        assert "still alive" in kept.stderr
        assert Path(package, "bin/hermesctl").exists()
        assert host.done("ensure") == f"{NAME}: kept\n"
        assert host.id() == first
        assert host.traces() == "state\nhome\nlayer\n"
    finally:
        (host.state / ".gc-root").unlink(missing_ok=True)
        removed = store(["nix-store", "--delete", package])
    assert removed.returncode == 0, "only the root had kept it"


def test_an_image_that_cannot_be_had_leaves_the_old_container_running(host: Host) -> None:
    """The new one is created before the old one goes."""
    host.container["entrypoint"] = ASLEEP
    host.done("ensure")
    host.done("start")
    first = host.id()
    host.container["image"] = "base:3"
    found = host.verb("ensure")
    assert found.returncode == 1
    assert "docker create failed" in found.stderr
    assert "No such image" in found.stderr, "with pull: never nobody is asked for it"
    assert "→ look at the whole command: repeat this with --dry-run" in found.stderr
    assert host.id() == first
    assert host.docker.run("inspect", "-f", "{{.State.Running}}", NAME).stdout == "true\n"


def test_beside_a_container_of_somebody_else_nothing_is_written(host: Host) -> None:
    """A marker in the home would lead every call of hermesctl into it."""
    host.docker.run("create", "--name", NAME, "base:1", "true")
    found = host.verb("ensure")
    assert (found.returncode, found.stdout) == (1, "")
    assert f"container.name: a container {NAME} is there that hermesctl has not created" in found.stderr
    assert not host.state.exists()


def test_a_program_is_run_only_in_a_container_that_is_there_and_up(host: Host) -> None:
    """Each obstacle has its own next step."""
    found = host.verb("exec", "--", "true")
    assert (found.returncode, "→ create it: hermesctl container ensure" in found.stderr) == (1, True)
    host.done("ensure")
    found = host.verb("exec", "--", "true")
    assert (found.returncode, "→ start it: hermesctl container start" in found.stderr) == (69, True)
    host.docker.env["DOCKER_HOST"], before = "unix:///nonexistent", host.docker.env["DOCKER_HOST"]
    try:
        found = host.verb("exec", "--", "true")
    finally:
        host.docker.env["DOCKER_HOST"] = before
    assert (found.returncode, "→ see `docker info`" in found.stderr) == (69, True)


def test_a_link_in_the_place_of_a_mounted_directory_is_refused_before_the_start(host: Host) -> None:
    """docker would follow it, and give the agent a directory of the host to write to."""
    host.done("ensure")
    target = host.place / "precious"
    target.mkdir()
    (host.state / "home").rmdir()
    (host.state / "home").symlink_to(target)
    for action in ("start", "ensure"):
        found = host.verb(action)
        assert found.returncode == 78
        assert "home: is a symbolic link" in found.stderr
    assert host.docker.run("inspect", "-f", "{{.State.Status}}", NAME).stdout == "created\n"
    assert target.stat().st_uid == 0


@pytest.mark.long
def test_what_root_plants_inside_gains_nothing_outside(host: Host) -> None:
    """Links in the places of files are replaced, and their targets stay; those of directories are refused."""
    host.container["entrypoint"] = ASLEEP
    host.declared["env"] = {"values": {"MODE": "quiet"}}
    host.done("ensure")
    host.done("start")
    precious = host.place / "precious"
    precious.write_text("precious")
    precious.chmod(0o600)
    names = [".hermes/.env", ".hermes/.container-mode", "current-package", ".gc-root"]
    host.inside("; ".join(f"ln -sfn {precious} /data/{name}" for name in names))
    host.inside(f"ln -f /etc/shadow /data/.hermes/x; ln -sfn {precious} /data/.hermes/hermesd.sock")
    assert all((host.state / name).readlink() == precious for name in names)
    host.done("ensure")
    assert (precious.read_text(), precious.stat().st_uid, precious.stat().st_mode & 0o777) == ("precious", 0, 0o600)
    assert str((host.state / "current-package").readlink()) == host.declared["package"]
    for name in names[:2]:
        assert (host.state / name).is_file()
        assert not (host.state / name).is_symlink()
    assert (host.state / ".hermes/.container-mode").stat().st_uid == 0, "who is believed by hermesctl of others"
    host.inside(f"mv /data/workspace /data/was; ln -s {host.place} /data/workspace")
    host.docker.run("stop", "-t", "1", NAME)
    for action in ("ensure", "start", "recreate"):
        found = host.verb(action)
        assert (found.returncode, "workspace: is a symbolic link" in found.stderr) == (78, True), found.stderr


@pytest.mark.long
def test_an_image_without_setpriv_and_without_the_user_will_do(host: Host) -> None:
    """The entrypoint adds the user and becomes it by chroot; where it is told to work it works."""
    script = 'rm /usr/bin/setpriv; cd /var; exec sh -c "$0" hermesd "$@"'
    words = ["sh", "-c", script, DEFAULT, "agent", "4242", "4243", "sh", "-c", "id -u; id -g; id -un; pwd"]
    done = host.docker.run("run", "--rm", "--network", "none", "base:1", *words)
    assert done.stdout.split() == ["4242", "4243", "agent", "/var"]


def test_a_service_that_attaches_passes_signals_on_and_ends_with_the_status_of_its_container(host: Host) -> None:
    """HUP reaches the first process, TERM stops the container in order; what that prints is seen."""
    waits = "echo ready; while :; do sleep 0.1; done"
    host.container["entrypoint"] = f"trap 'echo hup' HUP; trap 'echo term; exit 5' TERM; {waits}"
    host.done("ensure")
    command = [sys.executable, "-m", "hermesctl", "container", "start", "--attach", "--manifest"]
    service = subprocess.Popen(
        [*command, f"{host.place}/manifest.json"], env=host.docker.env, stdout=subprocess.PIPE, text=True
    )
    try:
        assert service.stdout
        for said in ("ready\n", "hup\n"):
            assert select.select([service.stdout], [], [], 30)[0], "it says nothing"
            assert service.stdout.readline() == said
            service.send_signal(signal.SIGHUP if said == "ready\n" else signal.SIGTERM)
        assert service.communicate(timeout=60)[0] == "term\n"
        assert service.returncode == 5
    finally:
        service.kill()
        service.communicate()
    assert host.docker.run("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", NAME).stdout == "exited 5\n"

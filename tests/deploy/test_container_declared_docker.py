"""What Nix declares of an agent in a container: activated, kept by hermesctl, guarded inside; a real Engine."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.nix.evaluation import NEEDS_NIX, ROOT, Nix, rendered
from tests.servers.dockerd import Engine, runtime_mounts, write_package
from tests.waiting import wait_until

pytestmark = NEEDS_NIX
UID = 10000
NAME = "hermes-agent"
PROGRAM = "/data/current-package/bin/hermesctl"
DECLARED: dict[str, Any] = {
    "container": {"enable": True, "image": "base:1", "pull": "never"},
    "settings": {
        "model": {"default": "offline"},
        "agent": {"max_turns": 7},
        "platforms": {"webhook": {"enabled": True, "port": 18644}},
    },
    "webhooks": {"alerts": {"prompt": "An alert: {__raw__}"}},
}


def test_its_platforms_come_up_and_what_is_declared_is_guarded_inside(docker: Engine, tmp_path: Path) -> None:
    """Rendered, activated as its user, kept as root; nobody has to start a gateway."""
    for place in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        place.chmod(0o755)
    state = tmp_path / "state"
    for path in (state, state / ".hermes", state / "workspace"):
        path.mkdir(mode=0o750)
        os.chown(path, 0 if path == state else UID, UID)
    package = str(write_package(tmp_path / "package"))
    paths = {"stateDir": str(state), "workingDirectory": str(state / "workspace")}
    found = rendered(Nix.below(tmp_path / "nix"), DECLARED | paths, package=package)
    found["container"]["container"] |= {"store": [*runtime_mounts(), str(tmp_path)], "name": NAME}
    for kind in ("activate", "container"):
        (tmp_path / f"{kind}.json").write_text(json.dumps(found[kind]))
    # On a host its user reaches /nix/store; here the interpreter may lie where only root does.
    mounts = [word for path in runtime_mounts() for word in ("-v", f"{path}:{path}:ro")]
    as_user = ["run", "--rm", "-u", f"{UID}:{UID}", "--network", "none", *mounts, "-v", f"{tmp_path}:{tmp_path}"]
    docker.run(*as_user, "base:1", f"{package}/bin/hermesctl", "activate", "--manifest", f"{tmp_path}/activate.json")
    try:
        for verb in ("ensure", "start"):
            kept_by_root(docker, verb, tmp_path / "container.json")
        assert "202" in called(docker, "webhook", "test", "alerts")
        refused = docker.run(*inside("config", "set", "agent.max_turns", "3"), check=False)
        assert refused.returncode == 78
        assert "managed by NixOS" in refused.stderr
        assert "sudo nixos-rebuild switch" in refused.stderr
        called(docker, "config", "set", "timezone", "UTC")
    finally:
        docker.run("rm", "-f", NAME, check=False)


def kept_by_root(docker: Engine, verb: str, manifest: Path) -> None:
    """`hermesctl container`, as the service of the host calls it."""
    command = [sys.executable, "-m", "hermesctl", "container", verb, "--manifest", str(manifest)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=docker.env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def inside(*words: str) -> list[str]:
    """A person's `docker exec`."""
    return ["exec", "-u", "hermes", NAME, PROGRAM, *words]


def called(docker: Engine, *words: str) -> str:
    """What hermesctl says inside, once the entrypoint has made the user and the daemon answers."""
    look = functools.partial(docker.run, *inside(*words), check=False)
    return wait_until(look, lambda done: done.returncode == 0, every_s=0.2).stdout

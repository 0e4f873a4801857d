"""Plugins that a manifest declares, by ``hermesctl activate`` as a program: linked, built, and called by a turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers.daemon import Daemon
from tests.servers.plugin_home import GREET, write_plugin
from tests.servers.uv_program import uv_directory, written_wheel


def activated(daemon: Daemon, *more: str, status: int = 0, path: str = "", **manifest: Any) -> dict[str, Any]:
    file = daemon.home.parent / "manifest.json"
    file.write_text(json.dumps({"schema": 1, "home": str(daemon.home), **manifest}))
    done = subprocess.run(
        [sys.executable, "-m", "hermesctl", "activate", "--json", "--manifest", str(file), *more],
        env={**os.environ, "PATH": f"{path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout) if status == 0 else {"error": done.stderr}


def enabling(name: str) -> dict[str, Any]:
    return {"value": {"model": {"default": "offline"}, "plugins": {"enabled": [name]}}}


def test_a_declared_directory_plugin_is_linked_called_and_unlinked(daemon: Daemon, tmp_path: Path) -> None:
    """Also of another profile; one of the user's own of this name is refused, and left alone."""
    source = write_plugin(tmp_path / "store", "greeter")
    declared = {"plugins": [{"name": "greeter", "path": str(source)}], "config": enabling("greeter")}
    shown = activated(daemon, "--dry-run", **declared)["actions"][-1]
    assert (shown["action"], shown["changes"]) == ("link", [f"+ greeter {source}"])
    assert not (daemon.home / "plugins").exists()
    activated(daemon, **declared, profiles={"coder": {"plugins": [str(source)]}})
    assert (daemon.home / "plugins/greeter").readlink() == source
    assert (daemon.home / "profiles/coder/plugins/greeter").readlink() == source
    daemon.start()
    assert "hello Ada" in str(daemon.call("chat.send", text='call greet {"who": "Ada"}')["text"])
    assert not activated(daemon, **declared, profiles={"coder": {"plugins": [str(source)]}})["changed"]
    activated(daemon, config=enabling("greeter"))
    assert not (daemon.home / "plugins/greeter").is_symlink()
    assert not (daemon.home / "profiles/coder/plugins/greeter").is_symlink()
    own = daemon.home / "plugins/greeter"
    own.mkdir()
    error = activated(daemon, **declared, status=78)["error"]
    assert "there is a plugin of this name already" in error
    assert list(own.iterdir()) == []


def test_declared_packages_are_built_and_a_spec_that_fails_keeps_the_old_ones(daemon: Daemon, tmp_path: Path) -> None:
    """With a warning and status 0; without specs the environment goes."""
    uv = str(uv_directory())
    point = "[hermes_agent.plugins]\ngreeter = greeter_package\n"
    wheel = written_wheel(tmp_path, "greeter-package", "1.0", {"greeter_package/__init__.py": GREET}, points=point)
    declared = {"sidecar": {"specs": [str(wheel)], "python": ""}, "config": enabling("greeter")}
    assert activated(daemon, "--dry-run", path=uv, **declared)["actions"][-1]["action"] == "build"
    assert activated(daemon, path=uv, **declared)["notices"] == []
    built = (daemon.home / "plugins/.sidecar/current").readlink()
    assert not activated(daemon, path=uv, **declared)["changed"]
    failing = {**declared, "sidecar": {"specs": [str(tmp_path / "absent-1.0-py3-none-any.whl")]}}
    [notice] = activated(daemon, path=uv, **failing)["notices"]
    assert "the one before stays" in notice
    assert (daemon.home / "plugins/.sidecar/current").readlink() == built
    daemon.start()
    assert "hello Ada" in str(daemon.call("chat.send", text='call greet {"who": "Ada"}')["text"])
    wrong = activated(daemon, path=uv, **{**declared, "sidecar": {"specs": ["--index-url=x"]}}, status=78)
    assert "is no package" in wrong["error"]
    assert activated(daemon, config=enabling("greeter"))["actions"][-1]["action"] == "remove"
    assert not (daemon.home / "plugins/.sidecar/current").is_symlink()

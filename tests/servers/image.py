"""The image of docker/Dockerfile, built by a test's Docker Engine. No registry and no package index is asked.

Wheels of what hermesd needs are fetched once for each pyproject.toml and interpreter, and kept beside the base image.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

from tests.servers.dockerd import IMAGE as BASE
from tests.servers.dockerd import ROOT, Engine

IMAGE = "hermesd:test"
CONTENTS = (
    "LICENSE",
    "README.md",
    "docker",
    "hermesctl",
    "hermesd",
    "pyproject.toml",
    "s6",
    "scripts",
    ".dockerignore",
)
BUILD_S = 900


def wheels() -> Path:
    """A directory with the wheels of all dependencies. One process fills it, the others wait for it."""
    pyproject = (ROOT / "pyproject.toml").read_bytes()
    project = tomllib.loads(pyproject.decode())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    key = hashlib.sha256(json.dumps([sys.version_info[:2], wanted]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hermesd-tests" / "containers"
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"wheels-{key}"
    with (cache / "wheels.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            made = Path(tempfile.mkdtemp(prefix="wheels-", dir=cache))
            _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(made), *wanted], dict(os.environ))
            made.rename(kept)
    return kept


def build(engine: Engine) -> str:
    """Build it; its name. Raises SkipTest with the reason where Debian's packages cannot be had."""
    with tempfile.TemporaryDirectory(prefix="hd-image-") as folder:
        for name in CONTENTS:
            origin = ROOT / name
            (shutil.copytree if origin.is_dir() else shutil.copy)(origin, Path(folder, name))
        shutil.copytree(wheels(), Path(folder, "dist"))
        arguments = ["--build-arg", f"BASE={BASE}", "--build-arg", "PIP_NO_INDEX=1"]
        _run(
            ["docker", "build", "--quiet", "--network=host", *arguments, "-f", "docker/Dockerfile", "-t", IMAGE, "."],
            {**engine.env, "DOCKER_BUILDKIT": "0"},
            folder,
        )
    return IMAGE


def _run(command: list[str], env: dict[str, str], cwd: str | None = None) -> None:
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        timeout=BUILD_S,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stdout + done.stderr
        if "Could not resolve" in said or "Temporary failure" in said or "No matching distribution" in said:
            raise unittest.SkipTest(f"there is no network: {said.strip().splitlines()[-1][:200]}")
        raise AssertionError(said[-4000:])

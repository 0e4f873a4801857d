"""An earlier release of hermesd: the wheel of a commit of this checkout's history, built and installed as users do it.

It lies in ``hermesd-tests/releases`` of the user's cache directory, under the commit's hash, so it is built once. What
it depends on comes from the environment of the tests. SkipTest says why where it cannot be had.
"""

from __future__ import annotations

import compileall
import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import unittest
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD_S = 180
SCHEMA_1 = "c4337ae"
"""The last commit before the second migration: the oldest schema that a released store can have."""


def installed(commit: str = SCHEMA_1) -> Path:
    """The directory that holds its two packages, for PYTHONPATH."""
    name = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").decode().strip()
    if not name:
        raise unittest.SkipTest(f"the commit {commit} is not in this checkout")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = cache / "hermesd-tests" / "releases"
    place.mkdir(parents=True, exist_ok=True)
    wanted = place / f"{name}-{sys.implementation.cache_tag}"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            with tempfile.TemporaryDirectory(dir=place) as scratch:
                _build(name, Path(scratch))
                (Path(scratch) / "installed").rename(wanted)  # whole, or not there
    return wanted


def environment(commit: str = SCHEMA_1) -> dict[str, str]:
    """What makes ``python -m hermesd`` and ``-m hermesctl`` this release, whatever the working directory is."""
    return {"PYTHONPATH": str(installed(commit)), "PYTHONSAFEPATH": "1"}


def _build(commit: str, scratch: Path) -> None:
    tree, target = scratch / "tree", scratch / "installed"
    with tarfile.open(fileobj=BytesIO(_git("archive", commit))) as archive:
        archive.extractall(tree, filter="data")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(scratch), str(tree)])
    [wheel] = scratch.glob("hermesd-*.whl")
    _run([*pip, "install", "--no-deps", "--no-compile", "--target", str(target), str(wheel)])
    shutil.rmtree(target / "bin", ignore_errors=True)
    compileall.compile_dir(target, quiet=2)
    target.chmod(0o755)  # other users run it, too


def _git(*words: str) -> bytes:
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, check=False).stdout
    except FileNotFoundError:
        raise unittest.SkipTest("git is not installed") from None


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, timeout=BUILD_S, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest(f"the wheel was not built within {BUILD_S} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines()[-1:]
        raise unittest.SkipTest(f"the wheel of an earlier release cannot be built: {' '.join(said)[:200]}") from None

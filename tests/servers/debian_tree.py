"""The file tree that a machine boots, and this checkout with its byte code, both made once and kept.

They lie in ``hermesd-tests/systemd`` of the user's cache directory (``SYSTEMD_TREE`` names another place), under the
hash of what they are made from, this file included. So what is there is whole and current, nobody changes it, and what
nobody has used for days is removed.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUITE = "bookworm"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "dbus-user-session", "util-linux"),
    *("libssl3", "libffi8", "libsqlite3-0", "zlib1g", "libbz2-1.0", "liblzma5", "libreadline8"),
    *("libncursesw6", "libexpat1", "libuuid1"),
)
BUILD_S = 600
KEPT_S = 3 * 24 * 3600.0
PYTHON, SITE, CODE = "/opt/python", "/opt/site", "/opt/code"

USERS = {"ada": 1000, "bob": 1001}
"""Both with a manager of their own that lingers."""

LAUNCHER = """\
#!/bin/sh
export LD_LIBRARY_PATH={python}/lib PYTHONPATH="${{HERMESD_CODE:-{code}}}:{site}" PYTHONDONTWRITEBYTECODE=1
exec {python}/bin/python{version} -P -m {module} "$@"
"""


def tree() -> Path:
    """A Debian with systemd. Never written to: it is the lower layer of an overlay."""

    def make(place: Path) -> None:
        _debootstrap(place)
        _furnish(place)

    return _kept("tree", [Path(__file__)], make)


def code() -> Path:
    """A copy of this checkout's packages with their byte code: nothing in a machine could write that."""
    packages = [ROOT / "hermesd", ROOT / "hermesctl"]

    def make(place: Path) -> None:
        for package in packages:
            shutil.copytree(package, place / package.name, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(place, ddir=CODE, quiet=2)
        place.chmod(0o755)

    return _kept("code", sorted(path for package in packages for path in package.rglob("*.*") if path.is_file()), make)


def _kept(kind: str, sources: list[Path], make: Callable[[Path], None]) -> Path:
    """The directory made from these files, as they are now. One process makes it, the others wait for it."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    place = Path(os.environ.get("SYSTEMD_TREE") or cache / "hermesd-tests" / "systemd")
    place.mkdir(parents=True, exist_ok=True)
    wanted = place / f"{kind}-{_hash(sources)}"
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_dir():
            _remove_unused(place)
            with tempfile.TemporaryDirectory(dir=place, prefix="new-", ignore_cleanup_errors=True) as scratch:
                (Path(scratch) / "it").mkdir()
                make(Path(scratch) / "it")
                (Path(scratch) / "it").rename(wanted)  # whole, or not there
        os.utime(wanted)  # used now
    return wanted


def _hash(sources: list[Path]) -> str:
    found = hashlib.sha256(f"{sys.implementation.cache_tag} {platform.machine()}".encode())
    for path in sources:
        if "__pycache__" not in path.parts:
            found.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def _remove_unused(place: Path) -> None:
    """What no machine that still runs can be using, and what was never finished."""
    for path in place.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir() and (path.name.startswith("new-") or time.time() - path.stat().st_mtime > KEPT_S):
                shutil.rmtree(path, ignore_errors=True)


def _debootstrap(tree: Path) -> None:
    if shutil.which("debootstrap") is None:
        raise unittest.SkipTest("debootstrap is not installed")
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(tree)]
    try:
        subprocess.run(command, check=True, timeout=BUILD_S, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest(f"debootstrap was not done within {BUILD_S} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stdout + error.stderr).strip().splitlines()[-1:]
        raise unittest.SkipTest(f"debootstrap cannot make a tree: {' '.join(said)[:200]}") from None


def _furnish(tree: Path) -> None:
    """Users, and the programs on PATH."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for module in ("hermesd", "hermesctl"):
        path = tree / "usr/local/bin" / module
        path.write_text(LAUNCHER.format(python=PYTHON, code=CODE, site=SITE, version=version, module=module))
        path.chmod(0o755)
    for name, uid in USERS.items():
        command = ["chroot", str(tree), "useradd", "--create-home", "--shell=/bin/bash", f"--uid={uid}", name]
        subprocess.run(command, check=True, capture_output=True)
        linger = tree / "var/lib/systemd/linger" / name
        linger.parent.mkdir(exist_ok=True)
        linger.touch()

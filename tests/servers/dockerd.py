"""A Docker Engine of a test's own, with a Debian base image that is made on the spot: no registry is asked.

``debootstrap`` makes the base once a machine; it is kept under ``hermesd-tests/containers`` in the user's cache
directory. What cannot be had raises SkipTest with the reason. Inside, the interpreter and the packages of these tests
are seen at their own paths, read-only.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGE = "debian:bookworm-slim"
# what an interpreter from elsewhere may be linked with
LIBRARIES = "libssl3,libffi8,libsqlite3-0,libreadline8,libncursesw6,libuuid1,zlib1g,libbz2-1.0,liblzma5,libtirpc3"
BASE = f"bookworm-{LIBRARIES.count(',') + 1}"
READY_S = 60.0
INSTALL_S = 600


class Engine:
    """A running dockerd; ``env`` leads the client to it."""

    def __init__(self, place: Path, process: subprocess.Popen[bytes]) -> None:
        self.place = place
        self.process = process
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{place}/docker.sock"}

    def run(self, *words: str, check: bool = True, **options: object) -> subprocess.CompletedProcess[str]:
        """One call of the client; its output is the failure."""
        done = subprocess.run(
            ["docker", *words], env=self.env, capture_output=True, text=True, timeout=120, check=False, **options
        )
        assert not check or done.returncode == 0, f"docker {' '.join(words)}: {done.stdout}{done.stderr}"
        return done

    def restart(self) -> None:
        """End it with its containers, as a machine that goes down does, and start it again on what it kept."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.process = _start(self.place)
        _await_ready(self)

    def stop(self) -> None:
        """Remove every container, end the engine by its process id, and remove what it kept."""
        if self.process.poll() is None:
            with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
                if running := self.run("ps", "-aq").stdout.split():
                    self.run("rm", "-f", *running)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if line.split()[1].startswith(str(self.place)):
                subprocess.run(["umount", "-l", line.split()[1]], check=False, capture_output=True)
        shutil.rmtree(self.place, ignore_errors=True)


def base() -> Path:
    """The base image's file system as a tar file. One process makes it, the others wait for it."""
    if os.geteuid() != 0:
        raise unittest.SkipTest("debootstrap and dockerd need root")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hermesd-tests" / "containers"
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"{BASE}.tar"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            with tempfile.TemporaryDirectory(prefix="hd-base-") as tree:
                _run("debootstrap", "--variant=minbase", f"--include={LIBRARIES}", "bookworm", tree)
                Path(tree, "root").chmod(0o755)  # an interpreter may lie below it
                made = kept.with_suffix(".new")
                _run("tar", "--exclude=./dev/*", "--exclude=./var/cache/apt/*", "-C", tree, "-cf", str(made), ".")
                made.rename(kept)
    return kept


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """A Docker Engine with the base image; gone afterwards, with everything in it."""
    if not shutil.which("dockerd") or not shutil.which("docker"):
        raise unittest.SkipTest("dockerd and docker are not installed; `make containers` does that")
    image = base()
    place = Path(tempfile.mkdtemp(prefix="hd-dk-"))
    (place / "root").mkdir(mode=0o711)
    # in memory, because removing a whole system file by file takes longer than all the tests; a disk will do as well
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2g,mode=711", "hermesd-tests", f"{place}/root"],
        check=False,
        capture_output=True,
    )
    found = Engine(place, _start(place))
    try:
        _await_ready(found)
        with image.open("rb") as file:
            found.run("import", "-", IMAGE, stdin=file)
        yield found
    finally:
        found.stop()


def _start(place: Path) -> subprocess.Popen[bytes]:
    # no bridge and no rules: nothing of this machine's network is touched
    options = ["--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "overlay2"]
    places = ["--data-root", f"{place}/root", "--exec-root", f"{place}/exec", "--pidfile", f"{place}/pid"]
    with (place / "log").open("ab") as log:
        return subprocess.Popen(
            ["dockerd", *places, "--host", f"unix://{place}/docker.sock", *options],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )


def _await_ready(found: Engine) -> None:
    deadline = time.monotonic() + READY_S
    while found.run("version", check=False).returncode != 0:  # it tells nobody when it is ready, but systemd
        if found.process.poll() is not None or time.monotonic() > deadline:
            raise unittest.SkipTest(f"dockerd does not start here: {(found.place / 'log').read_text()[-300:]}")
        time.sleep(0.1)


def runtime_mounts() -> list[str]:
    """Host directories that this interpreter, its packages and hermesd need, without those inside others."""
    wanted = {Path(sys.prefix), Path(sys.base_prefix), Path(sys.prefix).resolve(), ROOT, ROOT.resolve()}
    wanted |= {Path(entry) for entry in sys.path if entry and Path(entry).is_dir()}
    return sorted(str(one) for one in wanted if not any(other in one.parents for other in wanted))


def write_package(place: Path) -> Path:
    """A directory with bin/hermesd and bin/hermesctl of this source tree, as a package would have them."""
    (place / "bin").mkdir(parents=True)
    for name in ("hermesd", "hermesctl"):
        program = place / "bin" / name
        program.write_text(f'#!/bin/sh\nexport PYTHONPATH={ROOT}\nexec {sys.executable} -m {name} "$@"\n')
        program.chmod(0o755)
    return place


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, timeout=INSTALL_S, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        raise unittest.SkipTest(f"{command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise unittest.SkipTest(f"{command[0]} did not end within {INSTALL_S} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stdout + error.stderr).strip().splitlines()[-1:]
        raise unittest.SkipTest(f"{command[0]} failed: {' '.join(said)[:200]}") from None

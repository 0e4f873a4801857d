"""A machine of its own whose PID 1 is a real systemd: systemd-nspawn over the tree of ``debian_tree``.

What a machine changes lies in memory and is gone with it. The interpreter, its packages and this checkout are bound
into it read-only; ``hermesd`` and ``hermesctl`` are on its PATH. SkipTest says why where this cannot be had.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import unittest
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.servers import debian_tree
from tests.servers.debian_tree import CODE, PYTHON, SITE, USERS

BOOT_S = 60


@dataclass
class Machine:
    """One that runs. Commands are run in it as root, or as another user with that user's manager within reach."""

    leader: int
    process: subprocess.Popen[bytes]

    def run(
        self, *command: str, user: str = "", timeout_s: float = 60.0, check: bool = True, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; with ``check`` a failure is an AssertionError with what it said."""
        done = subprocess.run(
            self.command(*command, user=user, **environment),
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def command(self, *command: str, user: str = "", **environment: str) -> list[str]:
        """What to run outside, for a command to run inside."""
        uid = USERS[user] if user else 0
        home = f"/home/{user}" if uid else "/root"
        variables = {"HOME": home, "USER": user or "root", "XDG_RUNTIME_DIR": f"/run/user/{uid}", **environment}
        if not uid:
            del variables["XDG_RUNTIME_DIR"]
        switch = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
        pairs = [f"{name}={value}" for name, value in variables.items()]
        enter = ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p"]
        return [*enter, "env", f"--chdir={home}", *pairs, *switch, *command]

    def systemctl(self, *words: str, user: str = "", check: bool = True) -> str:
        """What systemctl says."""
        scope = ["--user"] if user else []
        return self.run("systemctl", *scope, *words, user=user, check=check).stdout.strip()

    def shown(self, name: str, unit: str = "hermesd.service", *, user: str = "") -> str:
        """A property of a unit."""
        return self.systemctl("show", f"--property={name}", "--value", unit, user=user)

    def path(self, inside: str) -> Path:
        """A file of the machine, as seen from here."""
        return Path(f"/proc/{self.leader}/root") / inside.lstrip("/")


@contextlib.contextmanager
def machine(*binds: str) -> Iterator[Machine]:
    """A booted machine; gone on exit. ``binds`` are more read-only ones, ``FROM:TO``."""
    _check_programs()
    tree, code = debian_tree.tree(), debian_tree.code()
    name = f"hx{uuid.uuid4().hex[:10]}"
    with contextlib.ExitStack() as stack:
        groups = _cgroups(name, stack)
        told = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        told.bind(f"\0{name}")
        command = _nspawn(tree, code, name, binds)
        enter = " ".join(f"echo $$ > {group}/cgroup.procs;" for group in groups)
        log = stack.enter_context((Path(tree).parent / f"{name}.log").open("w+b"))
        stack.callback(Path(log.name).unlink)
        process = subprocess.Popen(
            ["sh", "-c", f'{enter} exec "$@"', "sh", *command],
            env={**os.environ, "NOTIFY_SOCKET": f"@{name}"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        stack.callback(_end, process)
        leader = _await_boot(told, process, log.name)
        stack.callback(_kill, leader)
        found = Machine(leader, process)
        _check_interpreter(found)
        yield found


def _check_programs() -> None:
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root can boot a machine")
    for program in ("systemd-nspawn", "nsenter", "setpriv"):
        if shutil.which(program) is None:
            raise unittest.SkipTest(f"{program} is not installed")
    if not sys.base_prefix.startswith("/") or sys.base_prefix == "/usr":
        raise unittest.SkipTest("the interpreter is the system's own, which cannot be bound into another tree")


def _check_interpreter(found: Machine) -> None:
    """What was built for a newer C library than the tree's cannot run in it."""
    command = (
        f"LD_LIBRARY_PATH={PYTHON}/lib PYTHONPATH={SITE} exec {PYTHON}/bin/python3 -P -c 'import trio, msgspec, apsw'"
    )
    done = found.run("sh", "-c", command, check=False)
    if done.returncode:
        raise unittest.SkipTest(f"this interpreter does not run in the tree: {done.stderr.strip()[-200:]}")


def _nspawn(tree: Path, code: Path, name: str, binds: tuple[str, ...]) -> list[str]:
    base, packages = Path(sys.base_prefix), sysconfig.get_path("purelib")
    shared = [f"{base}:{PYTHON}", f"{packages}:{SITE}", f"{code}:{CODE}", *binds]
    return [
        *("systemd-nspawn", f"--directory={tree}", "--volatile=overlay", "--boot", f"--machine={name}"),
        *("--register=no", "--keep-unit", "--settings=no", "--console=pipe", "--private-network"),
        *("--notify-ready=yes", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
        *(f"--bind-ro={bind}" for bind in shared),
    ]


def _await_boot(told: socket.socket, process: subprocess.Popen[bytes], log: str) -> int:
    """The process id of its PID 1, once that says that it is up."""
    leader = 0
    told.settimeout(BOOT_S)
    ended = os.pidfd_open(process.pid)
    try:
        while True:
            ready, _, _ = select.select([told, ended], [], [], BOOT_S)
            if told not in ready:
                said = Path(log).read_text(errors="replace").strip().splitlines()[-3:]
                raise unittest.SkipTest(f"systemd-nspawn cannot boot here: {' '.join(said)[:300]}")
            for line in told.recv(4096).decode().splitlines():
                key, _, value = line.partition("=")
                if key == "X_NSPAWN_LEADER_PID":
                    leader = int(value)
                elif key == "READY" and leader:
                    return leader
    finally:
        os.close(ended)


def _end(process: subprocess.Popen[bytes]) -> None:
    """nspawn tidies up after its leader has ended; if there never was one, it is told to end."""
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(15)


def _kill(leader: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(leader, signal.SIGKILL)


def _cgroups(name: str, stack: contextlib.ExitStack) -> list[Path]:
    """A group of its own in each hierarchy that systemd would use: two machines in one would end each other's."""
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, hierarchy, path = line.split(":", 2)
        own[hierarchy] = path
    made = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        hierarchy = "" if kind == "cgroup2" else "name=systemd"
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options):
            group = Path(left.split(" ")[4] + own.get(hierarchy, "/"), name)
            try:
                group.mkdir()
            except OSError as error:
                raise unittest.SkipTest(f"no control group can be made here: {error}") from None
            stack.callback(_remove_groups, group)
            made.append(group)
    return made


def _remove_groups(top: Path) -> None:
    """Those that its systemd has made, the innermost first."""
    for group, _, _ in os.walk(top, topdown=False):
        with contextlib.suppress(OSError):
            Path(group).rmdir()

"""A real s6-svscan on a directory of its own, ended with everything below it; SkipTest where s6 is not installed."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import shutil
import subprocess
import sys
import termios
import unittest
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
READY_S = 30.0
END_S = 60.0


@dataclass
class Tree:
    """``scan`` is looked after by the process ``pid``; services get ``environment``."""

    scan: Path
    process: subprocess.Popen[bytes]
    environment: dict[str, str]

    def children(self) -> list[tuple[int, str, str]]:
        """Of s6-svscan: process id, state letter, name (proc(5))."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                pid, _, rest = stat.read_text().partition(" (")
                name, _, fields = rest.rpartition(") ")
                if int(fields.split()[1]) == self.process.pid:
                    found.append((int(pid), fields[0], name))
        return sorted(found)

    def stat(self, name: str, field: str) -> str:
        command = ["s6-svstat", "-o", field, str(self.scan / name)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def wait(self, name: str, event: str, timeout_s: float = 60.0) -> None:
        """Until it is ``-u``p, ``-U`` ready, ``-d``own or ``-D`` finished; a failure is an AssertionError."""
        command = ["s6-svwait", event, f"-t{int(timeout_s * 1000)}", str(self.scan / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.returncode}: {done.stderr}"

    def after(self, name: str, event: str, *command: str) -> None:
        """Run a command, and return when the service has then told this event (a regular expression)."""
        listen = ["s6-ftrig-listen1", "-t", "60000", str(self.scan / name / "event"), event]
        subprocess.run([*listen, *command], check=True, capture_output=True)


def _await_first_scan(scan: Path) -> None:
    """s6-svscan says that it is ready, then looks at its directory, then reads its control FIFO for the first time.

    Without this, a directory that a test makes and never tells s6-svscan about is now and then found all the same.
    """
    fifo = os.open(scan / ".s6-svscan/control", os.O_RDONLY | os.O_NONBLOCK)
    try:
        subprocess.run(["s6-svscanctl", "-z", scan], check=True)  # reap zombies: the command that changes nothing
        unread = array.array("i", [1])

        def is_read() -> bool:
            fcntl.ioctl(fifo, termios.FIONREAD, unread)
            return unread[0] == 0

        wait_until(is_read)
    finally:
        os.close(fifo)


@contextlib.contextmanager
def svscan(place: Path, *, uid: int | None = None, **environment: str) -> Iterator[Tree]:
    """An s6-svscan over ``place/scan``, as another user than ourselves when ``uid`` says so.

    On exit everything it runs is stopped and waited for.
    """
    if shutil.which("s6-svscan") is None:
        raise unittest.SkipTest("s6 is not installed: apt-get install s6 execline")
    scan = place / "scan"
    scan.mkdir()
    os.chown(scan, -1 if uid is None else uid, -1)
    variables = {**os.environ, "HERMES_S6_SCANDIR": str(scan), "PYTHONPATH": str(ROOT), **environment}
    variables["PATH"] = f"{Path(sys.executable).parent}:{variables['PATH']}"
    reader, writer = os.pipe()
    with (place / "svscan.output").open("ab") as output:
        process = subprocess.Popen(
            ["s6-svscan", "-d", str(writer), str(scan)],
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writer,),
            user=uid,
            extra_groups=None if uid is None else [],
        )
    os.close(writer)
    try:
        assert select.select([reader], [], [], READY_S)[0], "s6-svscan is not ready"
        _await_first_scan(scan)
        yield Tree(scan, process, variables)
    finally:
        os.close(reader)
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

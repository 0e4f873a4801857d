"""Case 30: a thousand short children and double forks, hermesd as process 1 and not: no zombie and no orphan is left.

The image, where s6-svscan is process 1, has its form in tests/deploy/test_image_docker.py.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.servers.daemon import Daemon
from tests.waiting import wait_until

ALLOWED = "policy: {unsafe: allow, tools: {terminal: allow}}\nterminal: {timeout: 120}\n"
OWN_NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
COUNTS = [60, pytest.param(500, marks=pytest.mark.long)]


class Process(NamedTuple):
    pid: int
    state: str
    name: str


def below(root: int) -> list[Process]:
    """Children and theirs, dead ones included (proc_pid_stat(5))."""
    parents: dict[int, list[Process]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            pid, _, rest = stat.read_text().partition(" (")
            name, _, fields = rest.rpartition(") ")
            parents.setdefault(int(fields.split()[1]), []).append(Process(int(pid), fields[0], name))
    found, new = [], [root]
    while new:
        children = parents.get(new.pop(), [])
        found += children
        new += [child.pid for child in children]
    return found


def left_over(root: int, before: list[Process]) -> list[Process]:
    """What is below beside those that were there before; what is about to end gets the time for it."""
    known = {process.pid for process in before}
    return wait_until(
        lambda: [process for process in below(root) if process.pid not in known], lambda left: not left, every_s=0.05
    )


def burst(count: int) -> str:
    """So many short children, as many double forks, and at the end some that would stay for ever."""
    loop = f"i=0; while [ $i -lt {count} ]; do true & (true &); i=$((i+1)); done; wait"
    return f"$ {loop}; (sleep 3000 &); setsid sleep 3000 & echo made"


def needs_namespace() -> None:
    done = subprocess.run([*OWN_NAMESPACE, "true"], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no pid namespace can be made here: {done.stderr.strip()[:200]}")


@pytest.mark.parametrize("count", COUNTS)
def test_as_process_1_it_leaves_neither_zombie_nor_orphan(daemon: Daemon, count: int) -> None:
    """Orphans become children of process 1, where nobody but hermesd could wait for them."""
    needs_namespace()
    daemon.write_config(ALLOWED)
    daemon.wrapper = OWN_NAMESPACE
    daemon.start()
    before = below(daemon.pid)
    assert len(before) == 2, "hermesd, and who reaps"
    assert "made" in daemon.call("chat.send", text=burst(count), quiet=True)["text"]
    assert left_over(daemon.pid, before) == []
    os.kill(before[0].pid, signal.SIGTERM)
    assert daemon.wait() == 0
    assert '"stopped"' in daemon.output, "in order, not by the end of process 1"


@pytest.mark.parametrize("count", COUNTS)
def test_as_any_process_it_leaves_neither_zombie_nor_orphan(daemon: Daemon, count: int) -> None:
    """Its own children are waited for; those of a double fork, which are the machine's, are found by their tag."""
    daemon.write_config(ALLOWED)
    daemon.start()
    before = below(daemon.pid)
    assert "made" in daemon.call("chat.send", text=burst(count), quiet=True)["text"]
    assert left_over(daemon.pid, before) == []
    marked = [path for path in Path("/proc").glob("[0-9]*/environ") if tag_of(daemon) in environ(path)]
    assert marked == []
    assert daemon.stop() == 0


def tag_of(daemon: Daemon) -> bytes:
    from hermesd.tools.terminal.leftovers import TAG, tag_prefix

    return f"{TAG}={tag_prefix(daemon.home)}".encode()


def environ(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_process_1_ends_as_hermesd_does(daemon: Daemon) -> None:
    """A status as it is, a signal as a shell tells it."""
    needs_namespace()
    daemon.wrapper = OWN_NAMESPACE
    daemon.start()
    _, own = below(daemon.pid)
    os.kill(own.pid, signal.SIGKILL)
    assert daemon.wait() == 128 + signal.SIGKILL
    daemon.write_config("modle: x\n")
    daemon.start(wait=False)
    assert daemon.wait() == 78

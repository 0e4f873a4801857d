"""Finding processes that a command left behind: they bear HERMESD_PROCESS=<home>:<id> in their environment.

A daemon that leaves the process group and the session (setsid, double fork) is no longer our child, but what it was
started with stays readable in /proc/<pid>/environ (proc(5)). Only a program that drops its environment escapes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import time
from typing import TYPE_CHECKING

import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

TAG = "HERMESD_PROCESS"
SCAN_THREADS = trio.CapacityLimiter(2)
MAX_ROUNDS = 10
LONG_RUN_S = 30.0
EXEC_S = 0.5
"""So long a process without an environment may be in execve(2): the new one can be read when that is nearly done."""
EXEC_LOOK_S = 0.001
PF_KTHREAD = 0x00200000  # <linux/sched.h>


def tag_prefix(home: Path) -> str:
    """``<home hash>:``, with which the tags of every process of this home begin."""
    return hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:16] + ":"


class Mark(msgspec.Struct, frozen=True):
    """What makes a process ours: a tag beginning with ``prefix`` (or equal to it, if ``exact``), or its session.

    ``since`` bounds the search to processes started after a leader: ids only grow, until they wrap.
    """

    prefix: str
    exact: bool = False
    session: int = 0
    since: int = 0

    def bears(self, pid: int) -> bool | None:
        """Whether this process, of our own user, is marked; False for any that is gone or not readable.

        None while it may be in execve(2), which it enters and leaves with an environment.
        """
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid != os.geteuid():  # noqa: PTH116 - Path costs more than the call
                return False
            if self.session and os.getsid(pid) == self.session:
                return _stat(pid)[0] not in (b"Z", b"X")
            with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - as above
                environ = file.read()
            if not environ:
                return None if _is_working(pid) else False
            wanted = f"{TAG}={self.prefix}".encode()
            if wanted not in environ:
                return False
            items = environ.split(b"\0")
            return wanted in items if self.exact else any(item.startswith(wanted) for item in items)
        return False


def _stat(pid: int) -> list[bytes]:
    """proc_pid_stat(5) from the state on: one letter, the parent, the group, the session, …"""
    with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - as above
        return file.read().rpartition(b") ")[2].split()


def _is_working(pid: int) -> bool:
    """Whether it runs or waits for a disk, and is no thread of the kernel's, which never has an environment."""
    stat = _stat(pid)
    return stat[0] in (b"R", b"D") and not int(stat[6]) & PF_KTHREAD


def find(mark: Mark) -> list[int]:
    """Process ids that bear the mark, never our own. Blocking: a few microseconds a process looked at."""
    try:
        since = mark.since if mark.since <= _newest_pid() else 0
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - as above
    except OSError:  # no /proc: nothing can be found
        return []
    own = {os.getpid(), os.getppid()}
    unsure = [pid for pid in pids if pid >= since and pid not in own]
    found: list[int] = []
    until = time.monotonic() + EXEC_S
    while True:
        answers = {pid: mark.bears(pid) for pid in unsure}
        found += [pid for pid, is_ours in answers.items() if is_ours]
        unsure = [pid for pid, is_ours in answers.items() if is_ours is None]
        if not unsure or time.monotonic() > until:
            return found
        time.sleep(EXEC_LOOK_S)


def _newest_pid() -> int:
    with open("/proc/loadavg", "rb") as file:  # noqa: PTH123 - as above
        return int(file.read().split()[-1])


def kill_marked(mark: Mark, *, grace_s: float = 0.0) -> int:
    """Kill every process that bears the mark, and what those start meanwhile; returns how many there were. Blocking.

    With a grace they get SIGTERM first. Signals go through pidfds, so that a reused id is never hit.
    """
    killed: set[int] = set()
    for _ in range(MAX_ROUNDS):
        found = set(find(mark))
        if found <= killed:  # none, or only some that even SIGKILL has not ended (uninterruptible sleep)
            break
        with contextlib.ExitStack() as stack:
            opened = {pid: fd for pid in found if (fd := _open(pid, mark.bears)) is not None}
            killed |= opened.keys()
            pidfds = opened.values()
            for fd in pidfds:
                stack.callback(os.close, fd)
            if grace_s:
                _signal(pidfds, signal.SIGTERM)
                _wait(pidfds, grace_s)
            _signal(pidfds, signal.SIGKILL)
            _wait(pidfds, 1.0)
        grace_s = 0.0
    return len(killed)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal a group whose leader is not reaped yet, so that its id cannot be another's."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


async def kill_strays(tag: str, leader: int, *, started: float) -> None:
    """Kill descendants that left the group: by session, or by the tag in their environment.

    ``started``: monotonic seconds. After a long run process ids may have come round, and all are looked at.
    """
    is_recent = time.monotonic() - started < LONG_RUN_S
    mark = Mark(tag, exact=True, session=leader, since=leader if is_recent else 0)
    await trio.to_thread.run_sync(kill_marked, mark, limiter=SCAN_THREADS, abandon_on_cancel=True)


async def reap_leftovers(prefix: str, *, grace_s: float = 2.0) -> int:
    """At boot, with the home claimed: end what a killed daemon left running; returns how many processes that were.

    ``prefix`` is ``tag_prefix(home)``. Their groups' and sessions' other members are tagged alike, being descendants.
    """
    mark = Mark(prefix)
    return await trio.to_thread.run_sync(lambda: kill_marked(mark, grace_s=grace_s), limiter=SCAN_THREADS)


def _open(pid: int, still: Callable[[int], bool | None]) -> int | None:
    """A pidfd of the process, if after opening it the process is still the one that was meant."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return None
    if still(pid):
        return fd
    os.close(fd)
    return None


def _signal(pidfds: Iterable[int], number: signal.Signals) -> None:
    for fd in pidfds:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(fd, number)


def _wait(pidfds: Iterable[int], seconds: float) -> None:
    """Until all have ended, or the time is up."""
    poll = select.poll()
    left = set(pidfds)
    for fd in left:
        poll.register(fd, select.POLLIN)
    until = time.monotonic() + seconds
    while left and (remaining := until - time.monotonic()) > 0:
        for fd, _ in poll.poll(remaining * 1000):
            poll.unregister(fd)
            left.discard(fd)

"""In the container: a signal for the program that a client outside has started.

The client cannot name it by a process id, which docker does not tell. It is found among the processes that came from
outside (their parent is no process of this container), by its arguments and by its age; of several, the one whose age
fits best.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from hermesd.errors import NotFoundError

MAX_DIFFERENCE_S = 30.0
"""An exec may take its time on a busy machine; more is another call."""


class Entered(NamedTuple):
    """A process that came from outside: its id, arguments and age in seconds."""

    pid: int
    arguments: list[str]
    age_s: float


def pass_signal(name: str, age_s: float, arguments: list[str], *, proc: Path = Path("/proc")) -> int:
    """Send the signal to the call that was made ``age_s`` before this one; its process id.

    Raises NotFoundError when there is no such call. Both came the same way, so the time that an exec takes falls out of
    the difference of their ages, and so does any difference between the clocks of client and container.
    """
    everyone = entered(proc)
    own_age_s = next((one.age_s for one in everyone if one.pid == os.getpid()), 0.0)
    found: Entered | None = None
    for one in everyone:
        if one.pid != os.getpid() and ends_with(one.arguments, arguments):
            off_s = abs(one.age_s - own_age_s - age_s)
            if off_s <= min(MAX_DIFFERENCE_S, abs(found.age_s - own_age_s - age_s) if found else MAX_DIFFERENCE_S):
                found = one
    if found is None:
        raise NotFoundError("no such call runs in this container")
    os.kill(found.pid, signal.Signals[name])
    return found.pid


def ends_with(words: list[str], arguments: list[str]) -> bool:
    """Whether a command line is a program (with an interpreter before it, maybe) and exactly these arguments."""
    count = len(arguments)
    return 0 < len(words) - count <= 4 and words[len(words) - count :] == arguments


def entered(proc: Path) -> list[Entered]:
    """Processes of this user whose parent is outside, but for the first (proc_pid_stat(5), fields 4 and 22)."""
    found = []
    uptime_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    ticks = os.sysconf("SC_CLK_TCK")
    for directory in proc.iterdir():
        if not directory.name.isdigit() or directory.name == "1":
            continue
        try:
            if directory.stat().st_uid != os.geteuid():
                continue
            fields = (directory / "stat").read_text().rpartition(")")[2].split()
            words = (directory / "cmdline").read_bytes().split(b"\0")[:-1]
        except OSError:
            continue  # it has ended
        if fields[1] == "0":
            age_s = uptime_s - int(fields[19]) / ticks
            found.append(Entered(int(directory.name), [os.fsdecode(word) for word in words], age_s))
    return found

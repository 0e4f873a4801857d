"""Timing whole processes in turn, reading what a process weighs and how often it wakes, and medians."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

REAL_PYTHON = str(Path(os.path.realpath(sys.executable)))
"""The interpreter's binary itself, never a launcher that stands before it."""

PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments and environment; ``status`` is the exit status that counts as working."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=lambda: {"PATH": "/usr/bin:/bin"})
    status: int = 0


def wall_ms(command: Command) -> float:
    """From spawning to having been reaped, output thrown away. RuntimeError when it exits with another status."""
    null = os.devnull
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, null, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, null, os.O_WRONLY, 0),
        (os.POSIX_SPAWN_OPEN, 2, null, os.O_WRONLY, 0),
    ]
    begun = time.perf_counter()
    pid = os.posix_spawn(command.argv[0], list(command.argv), dict(command.env), file_actions=actions)
    _, status = os.waitpid(pid, 0)
    took = (time.perf_counter() - begun) * 1e3
    if os.waitstatus_to_exitcode(status) != command.status:
        raise RuntimeError(f"{' '.join(command.argv)} exited with {os.waitstatus_to_exitcode(status)}")
    return took


def alternate(calls: Mapping[str, Callable[[], float]], runs: int, *, warmup: int = 2) -> dict[str, list[float]]:
    """Each call in turn, ``runs`` times over (A B A B …), so that what disturbs one disturbs the others too."""
    for call in calls.values():
        for _ in range(warmup):
            call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            found[name].append(call())
    return found


def alternate_commands(commands: Mapping[str, Command], runs: int, *, warmup: int = 2) -> dict[str, float]:
    """Median wall time of each command in milliseconds."""
    calls = {name: (lambda command=command: wall_ms(command)) for name, command in commands.items()}
    return {name: median(times) for name, times in alternate(calls, runs, warmup=warmup).items()}


class OtherWork:
    """How much of the processors went to others since it was made: what we and our children used is left out."""

    def __init__(self) -> None:
        self._busy, self._own, self._at = _busy_s(), _own_s(), time.monotonic()

    def share(self) -> float:
        """From 0 to 1, once our children have been reaped."""
        spent = (time.monotonic() - self._at) * len(os.sched_getaffinity(0))
        return max(0.0, (_busy_s() - self._busy) - (_own_s() - self._own)) / spent


def _busy_s() -> float:
    """Seconds of processor time that all processes have used since boot (proc_stat(5)), and what was stolen from us."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in spent)


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """What one in a hundred exceeds."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]


def timed_ms(call: Callable[[], object]) -> float:
    """Milliseconds of one call."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e3


def rss_mb(pid: int) -> float:
    """Resident memory of a process (10^6 bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MB


def switches(pid: int) -> int:
    """Context switches so far, voluntary or not, of all threads that live: an idle process makes none."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if "ctxt_switches" in line:
                total += int(line.split()[1])
    return total

"""How often a process is woken: what polls is seen by it on a machine of any speed."""

from __future__ import annotations

from pathlib import Path


def wakeups(pid: int) -> int:
    """How often its threads have waited for something so far (proc_pid_status(5): voluntary_ctxt_switches)."""
    found = 0
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
        found += int(lines["voluntary_ctxt_switches"])
    return found

"""What `systemctl show` says of a service, as a ServiceState.

https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html has the properties.
"""

from __future__ import annotations

from hermesd.deploy.manager import ServiceState

SHOWN = (
    *("ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "StatusText", "Result", "ExecMainStatus"),
    "StateChangeTimestamp",
)


def state_of(said: str, *, starts: str, has_socket: bool) -> ServiceState:
    """From ``NAME=value`` lines. ``starts`` is when an enabled one does, ``has_socket``: a client starts it, too."""
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    active, result = found.get("ActiveState", "unknown"), found.get("Result", "success")
    running = active in ("active", "reloading")
    enabled = found.get("UnitFileState") == "enabled"
    reasons = [starts] if enabled else []
    reasons += ["for the next client"] if has_socket and not running else []
    ended = f", {result}, status {found.get('ExecMainStatus', '')}" if result != "success" else ""
    return ServiceState(
        running=running,
        state=f"{active} ({found.get('SubState', '')}{ended})",
        enabled=enabled,
        pid=_number(found.get("MainPID", "")),
        restarts=_number(found.get("NRestarts", "")),
        detail=found.get("StatusText", "") if active not in ("inactive", "failed") else "",  # else of a process before
        since=found.get("StateChangeTimestamp", ""),
        starts=", and ".join(reasons),
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0

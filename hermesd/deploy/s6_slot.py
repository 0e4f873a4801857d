"""What the service directories of hermesd and of single profiles hold: https://skarnet.org/software/s6/servicedir.html."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING

from hermesd.deploy.manager import DAEMON
from hermesd.deploy.s6_scandir import ServiceDirectory
from hermesd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hermesd.deploy.manager import Installation

READY_FD = 3
SLOT_PREFIX = "gateway-"
OWNER = "data/home"
"""Whose it is: the home of the hermesd that has made the directory. One without it is left alone."""

LOG_BYTES, LOG_FILES = 1_048_576, 5
ASKED = 100
"""hermesd's status after a stop that a client has asked for. After a signal, as `s6-svc -r` sends it, it is 0."""
STARTS, STARTS_WITHIN_S = 10, 300
"""As StartLimitBurst= and StartLimitIntervalSec= of the systemd unit: beyond it the service stays down."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_RUN = """\
#!/bin/sh -e
umask 077
exec 2>&1 </dev/null
export HERMES_HOME={home}
exec {program} --ready-fd {fd} --stop-status {asked}
"""
FINISH = f"""\
#!/bin/sh
# 78: a wrong configuration is not mended by another start. {ASKED}: `hermesctl stop`; after a signal it is 0.
# 125 tells s6-supervise to leave it down.
[ "$1" = 78 ] || [ "$1" = {ASKED} ] && exit 125
# So does s6-permafailon after {STARTS} ends in {STARTS_WITHIN_S} s.
exec s6-permafailon {STARTS_WITHIN_S} {STARTS} 1-255,SIGKILL,SIGABRT,SIGSEGV,SIGBUS,SIGILL true
"""
_LOG = """\
#!/bin/sh -e
umask 077
mkdir -p {directory}
exec 2>&1
exec s6-log T n{files} s{size} {directory}
"""


def daemon_directory(installation: Installation) -> ServiceDirectory:
    """The directory ``hermesd``."""
    home = installation.home
    program = shlex.quote(installation.hermesd)
    return _directory(
        _RUN.format(home=shlex.quote(str(home)), program=program, fd=READY_FD, asked=ASKED), home, daemon_log(home)
    )


def slot_directory(home: Path, profile: str, *, down: bool, extra_env: Mapping[str, str]) -> ServiceDirectory:
    """The directory of one profile, whose own directory is the home of its hermesd. Raises UsageError (a variable).

    The interpreter is this one. ``extra_env`` goes into files that only the owner reads, as it may hold secrets.
    """
    envdir = "s6-envdir -fn env " if extra_env else ""
    program = f"{envdir}{shlex.quote(sys.executable)} -P -m hermesd"
    root = home / "profiles" / profile
    text = _RUN.format(home=shlex.quote(str(root)), program=program, fd=READY_FD, asked=ASKED)
    found = _directory(text, home, slot_log(home, profile))
    files = {**found.files, **{f"env/{_variable(name)}": value for name, value in extra_env.items()}}
    return found._replace(files={**files, "down": ""} if down else files)


def daemon_log(home: Path) -> Path:
    """Where s6-log keeps what hermesd prints; its own log is logs/hermesd.log."""
    return home / "logs" / "daemon"


def slot_log(home: Path, profile: str) -> Path:
    """Where s6-log keeps what the hermesd of a profile prints."""
    return home / "logs" / "gateways" / profile


def log_of(home: Path, name: str) -> Path:
    """The log directory of a service of ours."""
    return daemon_log(home) if name == DAEMON else slot_log(home, name.removeprefix(SLOT_PREFIX))


def _directory(run: str, home: Path, log: Path) -> ServiceDirectory:
    return ServiceDirectory(
        {
            "run": run,
            "finish": FINISH,
            "notification-fd": f"{READY_FD}\n",
            OWNER: f"{home}\n",
            "log/run": _LOG.format(directory=shlex.quote(str(log)), files=LOG_FILES, size=LOG_BYTES),
        }
    )


def _variable(name: str) -> str:
    if _VARIABLE.fullmatch(name):
        return name
    raise UsageError(f"{name[:80]!r} is not the name of a variable", next_step="use letters, digits and _")

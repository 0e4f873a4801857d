"""s6 as the service manager: ``hermesd`` is a service directory under the directory that s6-svscan looks after.

https://skarnet.org/software/s6/servicedir.html. What an image needs beside it (logs, slots of single profiles) is made
where the image is.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from hermesd.deploy.command import run, succeeds
from hermesd.deploy.manager import (
    DAEMON,
    Installation,
    Kind,
    NotInstalledError,
    ServiceFile,
    ServiceState,
    WithoutRegistration,
)
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCAN_DIRECTORY = Path("/run/service")
READY_FD = 3
WAIT_MS = 60_000

_RUN = """\
#!/bin/sh -e
exec 2>&1
export HERMES_HOME={home}
exec {program} --ready-fd {fd}
"""
_FINISH = """\
#!/bin/sh
# 78: a wrong configuration is not mended by another start. 125 tells s6-supervise to leave it down.
[ "$1" = 78 ] && exit 125
exit 0
"""


class S6(WithoutRegistration):
    """Services below a scan directory."""

    kind: Kind = "s6"

    def __init__(self, scan: Path = SCAN_DIRECTORY, *, environment: Mapping[str, str] | None = None) -> None:
        self.scan = scan
        self._environment = dict(os.environ if environment is None else environment)

    def files(self, installation: Installation) -> list[ServiceFile]:
        """See ServiceManager."""
        where = self.scan / DAEMON
        program = _RUN.format(
            home=shlex.quote(str(installation.home)), program=shlex.quote(installation.hermesd), fd=READY_FD
        )
        return [
            ServiceFile(where / "run", program),
            ServiceFile(where / "finish", _FINISH),
            ServiceFile(where / "notification-fd", f"{READY_FD}\n"),
        ]

    def install(self, installation: Installation, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        raise ConfigError(
            "the service directories of this machine are its image's",
            where=str(self.scan),
            next_step="put the files of `hermesctl service install --print` into the image",
        )

    def uninstall(self, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        raise ConfigError(
            "the service directories of this machine are its image's",
            where=str(self.scan),
            next_step="keep it down instead: hermesctl service stop",
        )

    def start(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        self._control(name, "-wU", "-u")
        return [f"{name} runs"]

    def stop(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        self._control(name, "-wD", "-d")
        return [f"{name} has stopped"]

    def restart(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        self._control(name, "-wR", "-r")
        return [f"{name} was restarted"]

    def is_running(self, name: str = DAEMON) -> bool:
        """See ServiceManager."""
        return self._stat(name, "up") == "true"

    def status(self) -> ServiceState:
        """See ServiceManager."""
        running = self.is_running()
        ready = self._stat(DAEMON, "ready") == "true"
        state = "ready" if ready else "starting" if running else "down"
        pid = self._stat(DAEMON, "pid")
        return ServiceState(running=running, state=state, enabled=True, pid=int(pid) if pid.isdigit() else 0)

    def log_command(self, *, lines: int, follow: bool) -> list[str]:
        """See ServiceManager."""
        raise ConfigError("s6 writes no log of its own", next_step="use `hermesctl logs`")

    def _control(self, name: str, *words: str) -> None:
        where = self._directory(name)
        run(["s6-svc", words[0], f"-T{WAIT_MS}", *words[1:], str(where)], self._environment, timeout_s=90.0)

    def _stat(self, name: str, field: str) -> str:
        where = self._directory(name)
        if not succeeds(["s6-svok", str(where)], self._environment):
            return ""
        return run(["s6-svstat", "-o", field, str(where)], self._environment).strip()

    def _directory(self, name: str) -> Path:
        where = self.scan / name
        if not where.is_dir():
            raise NotInstalledError(f"there is no service {name!r}", where=str(where), next_step=f"ls {self.scan}")
        return where

"""launchd as the service manager of macOS: a property list, and launchctl. Written after launchd.plist(5) and
launchctl(1); no test runs it on macOS.
"""

from __future__ import annotations

import os
import plistlib
from pathlib import Path
from typing import TYPE_CHECKING
from xml.parsers.expat import ExpatError

from hermesd.deploy import unitfile
from hermesd.deploy.command import check_program, run, succeeds
from hermesd.deploy.installed_home import make_home
from hermesd.deploy.manager import (
    DAEMON,
    Installation,
    Kind,
    NotInstalledError,
    Scope,
    ServiceFile,
    ServiceState,
    WithoutRegistration,
)
from hermesd.errors import ConfigError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL = "org.hermesd"
OURS = "HermesdInstallation"
THROTTLE_S = 30


class Launchd(WithoutRegistration):
    """A LaunchAgent of the user, or a LaunchDaemon of the system."""

    kind: Kind = "launchd"

    def __init__(self, scope: Scope, *, environment: Mapping[str, str] | None = None, uid: int | None = None) -> None:
        self.scope: Scope = scope
        self._environment = dict(os.environ if environment is None else environment)
        self._uid = os.getuid() if uid is None else uid

    @property
    def path(self) -> Path:
        """Where the property list lies."""
        where = Path("/Library/LaunchDaemons") if self.scope == "system" else Path.home() / "Library/LaunchAgents"
        return where / f"{LABEL}.plist"

    def files(self, installation: Installation) -> list[ServiceFile]:
        """See ServiceManager."""
        variables = {"HERMES_HOME": str(installation.home)}
        if installation.search_path:
            variables["PATH"] = installation.search_path
        log = str(installation.home / "logs" / "launchd.log")
        content: dict[str, object] = {
            "Label": LABEL,
            "ProgramArguments": [installation.hermesd],
            "EnvironmentVariables": variables,
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "ThrottleInterval": THROTTLE_S,
            "ExitTimeOut": installation.stop_s,
            "Umask": 0o077,
            "StandardErrorPath": log,
            "StandardOutPath": log,
            OURS: {"home": str(installation.home)},
        }
        if self.scope == "system":
            content["UserName"] = installation.user
        return [ServiceFile(self.path, plistlib.dumps(content).decode())]

    def install(self, installation: Installation, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        check_program("launchctl", self._environment)
        (file,) = self.files(installation)
        there = self._ours(force=force)
        if there == file.text and self.is_running():
            return ["nothing to do: it is installed and runs"]
        if there is not None:
            succeeds(["launchctl", "bootout", self._target], self._environment)
        make_home(installation)  # launchd starts nothing whose log it cannot open
        unitfile.write(file)
        run(["launchctl", "bootstrap", self._domain, str(file.path)], self._environment)
        return [f"wrote {file.path}", f"{DAEMON} runs"]

    def uninstall(self, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        self._ours(force=force)
        succeeds(["launchctl", "bootout", self._target], self._environment)
        unitfile.remove(self.path)
        return [f"removed {self.path}"]

    def start(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        if not succeeds(["launchctl", "print", self._target], self._environment):
            run(["launchctl", "bootstrap", self._domain, str(self.path)], self._environment)
        run(["launchctl", "kickstart", self._target], self._environment)
        return [f"{name} runs"]

    def stop(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        run(["launchctl", "bootout", self._target], self._environment)
        return [f"{name} has stopped"]

    def restart(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        run(["launchctl", "kickstart", "-k", self._target], self._environment)
        return [f"{name} was restarted"]

    def is_running(self, name: str = DAEMON) -> bool:
        """See ServiceManager."""
        return succeeds(["launchctl", "print", self._target], self._environment)

    def status(self) -> ServiceState:
        """See ServiceManager."""
        self._refuse_unless_installed()
        running = self.is_running()
        starts = "at boot" if self.scope == "system" else "when its user logs in"
        return ServiceState(running=running, state="loaded" if running else "not loaded", enabled=True, starts=starts)

    def log_command(self, *, lines: int, follow: bool) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        try:
            home = Path(plistlib.loads((unitfile.read(self.path) or "").encode())[OURS]["home"])
        except (ValueError, LookupError, TypeError, ExpatError) as error:
            raise ConfigError(
                "was not made by hermesctl", where=str(self.path), next_step="use `hermesctl logs`"
            ) from error
        return ["tail", "-n", str(lines), *(["-f"] if follow else []), str(home / "logs" / "launchd.log")]

    @property
    def _domain(self) -> str:
        return "system" if self.scope == "system" else f"gui/{self._uid}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"

    def _ours(self, *, force: bool) -> str | None:
        """The property list that is there. Raises ConflictError for somebody else's."""
        there = unitfile.read(self.path)
        if there is not None and OURS not in there and not force:
            raise ConflictError("was not made by hermesctl", where=str(self.path), next_step="move it away")
        return there

    def _refuse_unless_installed(self) -> None:
        if not self.path.exists():
            raise NotInstalledError(
                "hermesd is not installed as a service",
                where=str(self.path),
                next_step="install it: hermesctl service install",
            )

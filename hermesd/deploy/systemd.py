"""systemd as the service manager: unit files, systemctl, journalctl; the user's manager or the system's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hermesd.deploy import unitfile, units
from hermesd.deploy.command import run, succeeds
from hermesd.deploy.installed_home import make_home
from hermesd.deploy.manager import (
    DAEMON,
    Installation,
    Kind,
    NotInstalledError,
    Scope,
    ServiceCommandError,
    ServiceFile,
    ServiceState,
    WithoutRegistration,
)
from hermesd.deploy.systemd_state import SHOWN, state_of
from hermesd.errors import ConfigError, ConflictError, DeniedError

if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_UNITS = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""Made by systemd as process 1: sd_booted(3)."""
LINGER = Path("/var/lib/systemd/linger")
STARTS_S = 330.0  # TimeoutStartSec=300 of the unit, and some
LEAST_STOP_S = 60
STOPS_S = 30.0  # beside what the unit allows a stop


class Systemd(WithoutRegistration):
    """One of its scopes. ``environment`` and ``uid`` are those of this process unless given."""

    kind: Kind = "systemd"

    def __init__(self, scope: Scope, *, environment: Mapping[str, str] | None = None, uid: int | None = None) -> None:
        self.scope: Scope = scope
        self._environment = dict(os.environ if environment is None else environment)
        self._uid = os.getuid() if uid is None else uid

    # -- files -------------------------------------------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where the unit files lie."""
        if self.scope == "system":
            return SYSTEM_UNITS
        config = self._environment.get("XDG_CONFIG_HOME")
        return (Path(config) if config else Path.home() / ".config") / "systemd" / "user"

    def files(self, installation: Installation) -> list[ServiceFile]:
        """See ServiceManager."""
        return [
            ServiceFile(self.directory / units.SOCKET_UNIT, units.socket(installation)),
            ServiceFile(self.directory / units.SERVICE_UNIT, units.service(installation)),
        ]

    def installed(self) -> Installation | None:
        """What the unit that is there was made from; None when there is none of ours."""
        text = unitfile.read(self.directory / units.SERVICE_UNIT)
        found = unitfile.facts_of(text) if text else {}
        if not {"hermesd", "hermesctl", "home", "socket"} <= found.keys():
            return None
        return Installation(
            scope=self.scope,
            hermesd=found["hermesd"],
            hermesctl=found["hermesctl"],
            home=Path(found["home"]),
            socket=Path(found["socket"]),
            user=found.get("user", ""),
            group=found.get("group", ""),
            search_path=found.get("search_path", ""),
            stop_s=int(stop_s) if (stop_s := found.get("stop_s", "")).isdecimal() else LEAST_STOP_S,
        )

    # -- ServiceManager ----------------------------------------------------------------------------------------------

    def install(self, installation: Installation, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        there = self.installed()
        if there is not None and there.home != installation.home and not force:
            raise ConflictError(
                f"the service runs another home: {there.home}",
                where=str(self.directory / units.SERVICE_UNIT),
                next_step="uninstall it first: hermesctl service uninstall, or repeat this with --force",
            )
        self._check_manager()
        make_home(installation)
        said = self._write(installation, force=force)
        self._systemctl("enable", units.SOCKET_UNIT, units.SERVICE_UNIT)
        if self.is_running() and said:
            said += self.restart()
        elif not self.is_running():
            said += self.start()
        return [*(said or ["nothing to do: it is installed and runs"]), *self._linger()]

    def uninstall(self, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        paths = [self.directory / name for name in (units.SOCKET_UNIT, units.SERVICE_UNIT)]
        there = [path for path in paths if (text := unitfile.read(path)) is not None and _may_go(path, text, force)]
        if not there:
            raise self._not_installed()
        self._check_manager()
        self._systemctl("disable", "--now", *(path.name for path in there), timeout_s=self._stop_s())
        for path in there:
            unitfile.remove(path)
        self._systemctl("daemon-reload")
        return [f"removed {path}" for path in there]

    def start(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager. Its failures are forgiven: a person has looked."""
        said = self._refresh()
        self._forgive()
        self._systemctl("start", *self._units(name), timeout_s=STARTS_S)
        return [*said, f"{name} runs"]

    def stop(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager. The socket, too: the next client would start it again."""
        self._refuse_unless_installed()
        self._systemctl("stop", *self._units(name), timeout_s=self._stop_s())
        return [f"{name} has stopped"]

    def restart(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager. The socket stays, so nobody is refused."""
        said = self._refresh()
        self._forgive()
        self._systemctl("start", units.SOCKET_UNIT)
        self._systemctl("restart", f"{name}.service", timeout_s=self._stop_s() + STARTS_S)
        return [*said, f"{name} was restarted"]

    def is_running(self, name: str = DAEMON) -> bool:
        """See ServiceManager."""
        return succeeds(self._command("is-active", "--quiet", f"{name}.service"), self._environment)

    def status(self) -> ServiceState:
        """See ServiceManager."""
        self._refuse_unless_installed()
        said = self._systemctl("show", f"--property={','.join(SHOWN)}", units.SERVICE_UNIT)
        has_socket = succeeds(self._command("is-active", "--quiet", units.SOCKET_UNIT), self._environment)
        return state_of(said, starts=self._starts(), has_socket=has_socket)

    def log_command(self, *, lines: int, follow: bool) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        scope = ["--user"] if self.scope == "user" else []
        more = ["--follow"] if follow else ["--no-pager"]
        return ["journalctl", *scope, f"--unit={units.SERVICE_UNIT}", f"--lines={lines}", *more]

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _write(self, installation: Installation, *, force: bool) -> list[str]:
        """Bring the files up to date; a sentence for each one that was written."""
        files = self.files(installation)
        found = {file.path: unitfile.condition(unitfile.read(file.path), file.text) for file in files}
        for path, condition in found.items():
            unitfile.check_ours(path, condition, force=force)
        changed = [file for file in files if found[file.path] != "current"]
        for file in changed:
            unitfile.write(file)
        if changed:
            self._systemctl("daemon-reload")
        return [f"{'wrote' if found[file.path] == 'missing' else 'refreshed'} {file.path}" for file in changed]

    def _refresh(self) -> list[str]:
        """Write units that an earlier release made as this one would make them."""
        there = self.installed()
        if there is None:
            self._refuse_unless_installed()
            return []
        stale = [
            file
            for file in self.files(there)
            if unitfile.condition(unitfile.read(file.path), file.text) in ("stale", "missing")
        ]
        if not stale or not os.access(self.directory, os.W_OK):
            return []
        for file in stale:
            unitfile.write(file)
        self._systemctl("daemon-reload")
        return [f"refreshed {file.path}" for file in stale]

    def _units(self, name: str) -> list[str]:
        return [units.SOCKET_UNIT, units.SERVICE_UNIT] if name == DAEMON else [f"{name}.service"]

    def _forgive(self) -> None:
        succeeds(self._command("reset-failed", units.SOCKET_UNIT, units.SERVICE_UNIT), self._environment)

    def _stop_s(self) -> float:
        there = self.installed()
        return STOPS_S + (there.stop_s if there is not None else LEAST_STOP_S)

    def _linger(self) -> list[str]:
        """Without lingering the user's manager, and hermesd with it, ends when the user logs out."""
        if self.scope == "system":
            return []
        user = _user_name(self._uid)
        if self._lingers():
            return []
        return [f"notice: it ends when {user} logs out", f"  → to keep it running: sudo loginctl enable-linger {user}"]

    def _lingers(self) -> bool:
        return (LINGER / _user_name(self._uid)).exists()

    def _starts(self) -> str:
        if self.scope == "system" or self._lingers():
            return "at boot"
        user = _user_name(self._uid)
        return f"when {user} logs in, until {user} logs out"

    def _refuse_unless_installed(self) -> None:
        if not (self.directory / units.SERVICE_UNIT).exists():
            raise self._not_installed()

    def _not_installed(self) -> NotInstalledError:
        flag = " --system" if self.scope == "system" else ""
        step = f"install it: hermesctl service install{flag}"
        if self.scope == "user" and (SYSTEM_UNITS / units.SERVICE_UNIT).exists():
            step = "if the machine's is meant, add --system"
        return NotInstalledError(
            "hermesd is not installed as a service", where=str(self.directory / units.SERVICE_UNIT), next_step=step
        )

    def _check_manager(self) -> None:
        """Raise ConfigError when the manager of this scope cannot be reached, or we may not tell it anything."""
        if self.scope == "system" and self._uid != 0:
            raise ConfigError(
                "only root installs a system service",
                where=str(self.directory),
                next_step="run it with sudo, or install it for yourself with --user",
            )
        if self.scope == "system" and not BOOTED.is_dir():
            raise _not_booted()
        runtime = self._environment.get("XDG_RUNTIME_DIR") or f"/run/user/{self._uid}"
        if self.scope == "user":
            if not Path(runtime, "systemd").is_dir():
                raise ConfigError(
                    "there is no systemd manager for this user",
                    where=runtime,
                    next_step=f"log in, or keep one running: sudo loginctl enable-linger {_user_name(self._uid)}",
                )
            self._environment["XDG_RUNTIME_DIR"] = runtime

    def _systemctl(self, *words: str, timeout_s: float = 60.0) -> str:
        flag = " --system" if self.scope == "system" else ""
        step = f"look why: hermesctl service logs{flag}"
        try:
            return run(self._command(*words), self._environment, timeout_s=timeout_s, next_step=step)
        except ServiceCommandError as error:
            if "not been booted" in error.what:
                raise _not_booted() from error
            if self.scope == "system" and self._uid != 0 and "ccess denied" in error.what:
                raise DeniedError(
                    f"systemd lets only root {words[0]} it",
                    where=str(self.directory / units.SERVICE_UNIT),
                    next_step="repeat it with sudo",
                ) from error
            raise

    def _command(self, *words: str) -> list[str]:
        runtime = Path(f"/run/user/{self._uid}")
        if self.scope == "user" and "XDG_RUNTIME_DIR" not in self._environment and runtime.is_dir():
            self._environment["XDG_RUNTIME_DIR"] = str(runtime)
        return ["systemctl", *(["--user"] if self.scope == "user" else []), "--no-ask-password", *words]


def _may_go(path: Path, text: str, force: bool) -> bool:
    unitfile.check_ours(path, unitfile.condition(text, ""), force=force)
    return True


def _not_booted() -> ConfigError:
    return ConfigError(
        "systemd does not run on this machine", where=str(BOOTED), next_step="run hermesd --detach instead"
    )


def _user_name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

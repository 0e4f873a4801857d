"""s6 as the service manager: service directories in the directory that an s6-svscan of this user looks after.

``hermesd`` is one of them, and ``gateway-<profile>`` are those of profiles that run as processes of their own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from hermesd.deploy import s6_scandir
from hermesd.deploy.command import run, succeeds
from hermesd.deploy.manager import (
    DAEMON,
    SCAN_DIRECTORY_VARIABLE,
    Installation,
    Kind,
    NotInstalledError,
    ServiceFile,
    ServiceState,
)
from hermesd.deploy.s6_slot import ASKED, OWNER, SLOT_PREFIX, daemon_directory, log_of, slot_directory
from hermesd.errors import ConfigError
from hermesd.home import Home, check_profile_name

if TYPE_CHECKING:
    from collections.abc import Mapping

SCAN_DIRECTORY = Path("/run/service")
START_MS = 60_000
STOP_MS = 330_000
"""A profile that is stopped by hand may drain for five minutes."""
PLANNED = ("exitcode 0", f"exitcode {ASKED}")
"""s6-svdt's words for ends that somebody has wanted."""


class S6:
    """Services below a scan directory: $HERMES_S6_SCANDIR, or /run/service. ``home`` is $HERMES_HOME unless given."""

    kind: Kind = "s6"

    def __init__(
        self, scan: Path | None = None, *, home: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        self._environment = dict(os.environ if environment is None else environment)
        self.scan = scan or Path(self._environment.get(SCAN_DIRECTORY_VARIABLE) or SCAN_DIRECTORY)
        self.home = home or Home.from_environment().root

    # -- ServiceManager ----------------------------------------------------------------------------------------------

    def files(self, installation: Installation) -> list[ServiceFile]:
        """See ServiceManager."""
        found = daemon_directory(installation)
        return [ServiceFile(self.scan / DAEMON / name, text) for name, text in found.files.items()]

    def install(self, installation: Installation, *, force: bool = False) -> list[str]:
        """See ServiceManager. One that is there is made anew when it is ours and other than it should be."""
        self._refuse_unless_ours()
        there, wanted = self.scan / DAEMON, daemon_directory(installation)
        if there.exists():
            if self._owner(DAEMON) is None and not force:
                raise _of_the_image(there, "put the files of `hermesctl service install --print` into it")
            if all(_text(there / name) == text for name, text in wanted.files.items()):
                return ["nothing to do: it is installed and runs"] if self.is_running() else self.start()
            self._retire(DAEMON)
        s6_scandir.publish(self.scan, DAEMON, wanted, self._environment, owner=str(self.home))
        return [f"made {there}", *self.start()]

    def uninstall(self, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        there = self._directory(DAEMON)
        self._refuse_unless_ours()
        if self._owner(DAEMON) is None and not force:
            raise _of_the_image(there, "keep it down instead: hermesctl service stop")
        self._retire(DAEMON)
        return [f"removed {there}"]

    def start(self, name: str = DAEMON, *, wait: bool = True) -> list[str]:
        """See ServiceManager. Ready when it returns; an end that no other start mends is an error at once."""
        self._control(name, "-U" if _is_slot(name) else "-u", until="-wU" if wait else "", wait_ms=START_MS)
        return [f"{name} runs"]

    def stop(self, name: str = DAEMON, *, wait: bool = True) -> list[str]:
        """See ServiceManager. A slot stays down even if its supervisor has to be started again."""
        self._control(name, "-D" if _is_slot(name) else "-d", until="-wD" if wait else "", wait_ms=STOP_MS)
        return [f"{name} has stopped"]

    def restart(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager. One that is down is started."""
        if not self.is_running(name):
            self.start(name)
        else:
            self._control(name, "-r", until="-wR", wait_ms=STOP_MS)
        return [f"{name} was restarted"]

    def is_running(self, name: str = DAEMON) -> bool:
        """See ServiceManager."""
        return self._stat(name, "up") == ["true"]

    def is_installed(self) -> bool:
        """Whether hermesd is a service here, of this home or as the image has it."""
        return (self.scan / DAEMON).is_dir() and self._owner(DAEMON) in (None, self.home)

    def status(self, name: str = DAEMON) -> ServiceState:
        """See ServiceManager."""
        found = self._stat(name, "up", "ready", "pid", "normallyup") or ["false", "false", "-1", "false"]
        up, ready, pid, normally = found
        state = "ready" if ready == "true" and up == "true" else "starting" if up == "true" else "down"
        running, enabled = up == "true", normally == "true"
        return ServiceState(running, state, enabled, int(pid) if running else 0, self._failures(name) if running else 0)

    def log_command(self, *, lines: int, follow: bool, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        current = log_of(self.home, name) / "current"
        self._directory(name)
        return ["tail", f"--lines={lines}", *(["--follow=name", "--retry"] if follow else []), str(current)]

    # -- profiles as services of their own ---------------------------------------------------------------------------

    def supports_runtime_registration(self) -> bool:
        """See ServiceManager. s6-svscan must run as this user: what it finds here, it runs."""
        return s6_scandir.is_supervised(self.scan)

    def register_profile_gateway(
        self, profile: str, *, extra_env: Mapping[str, str] | None = None, start: bool = False
    ) -> None:
        """See ServiceManager. With ``start`` it begins at once; readiness is not waited for. Raises ConflictError."""
        self._refuse_unless_ours()
        directory = slot_directory(self.home, check_profile_name(profile), down=not start, extra_env=extra_env or {})
        s6_scandir.publish(self.scan, SLOT_PREFIX + profile, directory, self._environment, owner=str(self.home))

    def unregister_profile_gateway(self, profile: str) -> None:
        """See ServiceManager. It is stopped in order first; that there is none is no error."""
        name = SLOT_PREFIX + check_profile_name(profile)
        if (self.scan / name).is_dir():
            self._refuse_unless_ours()
            self._retire(name)

    def list_profile_gateways(self) -> list[str]:
        """See ServiceManager. Those of this home."""
        try:
            names = sorted(row.name for row in self.scan.iterdir() if _is_slot(row.name))
        except OSError as error:
            raise ConfigError(
                f"cannot be read: {error.strerror}", where=str(self.scan), next_step="start s6-svscan on it"
            ) from error
        return [name.removeprefix(SLOT_PREFIX) for name in names if self._owner(name) == self.home]

    def sweep(self) -> list[str]:
        """Remove what a crash has left half made or half removed; the names of it."""
        return s6_scandir.sweep(self.scan, self._environment, owner=str(self.home))

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _retire(self, name: str) -> None:
        if self.is_running(name):
            self.stop(name)
        s6_scandir.retire(self.scan, name, self._environment, owner=str(self.home))

    def _control(self, name: str, order: str, *, until: str, wait_ms: int) -> None:
        """Give an order and wait for its outcome.

        Where that is the case already, s6-svc would return before it has given its order, and give it later than our
        next: so nothing is told to what is ready, and a stop is told first and waited for then.
        """
        where = self._directory(name)
        found = self._stat(name, "up", "ready")
        if not found:
            raise ConfigError(
                "no s6-supervise looks after it", where=str(where), next_step=f"run s6-svscanctl -a {self.scan}"
            )
        if until == "-wU" and found == ["true", "true"]:
            until = ""
        step = f"look why: hermesctl logs, or {log_of(self.home, name)}/current"
        if until == "-wD":
            commands = [["s6-svc", order, str(where)], ["s6-svwait", "-D", f"-t{wait_ms}", str(where)]]
        else:
            commands = [["s6-svc", *([until, f"-T{wait_ms}"] if until else []), order, str(where)]]
        for command in commands:
            run(command, self._environment, timeout_s=wait_ms / 1000 + 30, next_step=step)

    def _stat(self, name: str, *fields: str) -> list[str]:
        """Nothing when no supervisor looks after it."""
        where = self._directory(name)
        if not self._is_supervised(where):
            return []
        return run(["s6-svstat", "-o", ",".join(fields), str(where)], self._environment).split()

    def _failures(self, name: str) -> int:
        """How often it has ended by itself, of the last hundred ends that s6-supervise remembers: s6-svdt(1)."""
        said = run(["s6-svdt", str(self._directory(name))], self._environment)
        ends = [line.partition(" ")[2] for line in said.splitlines()]
        return sum(end not in PLANNED for end in ends)

    def _is_supervised(self, where: Path) -> bool:
        return succeeds(["s6-svok", str(where)], self._environment)

    def _directory(self, name: str) -> Path:
        where = self.scan / name
        if where.is_dir():
            return where
        if not _is_slot(name):
            raise NotInstalledError(
                "hermesd is not installed as a service",
                where=str(where),
                next_step="install it: hermesctl service install",
            )
        raise NotInstalledError(
            f"the profile {name.removeprefix(SLOT_PREFIX)!r} is not registered as a service of its own",
            where=str(where),
            next_step=f"have it run as one: hermesctl -p {name.removeprefix(SLOT_PREFIX)} config set isolation process",
        )

    def _owner(self, name: str) -> Path | None:
        """The home that the directory belongs to; None when hermesd has not made it."""
        text = _text(self.scan / name / OWNER)
        return Path(text.strip()) if text else None

    def _refuse_unless_ours(self) -> None:
        if self.supports_runtime_registration():
            return
        raise ConfigError(
            "no s6-svscan of this user looks after it",
            where=str(self.scan),
            next_step=f"start one (s6-svscan DIRECTORY), and set {SCAN_DIRECTORY_VARIABLE} to its directory",
        )


def _is_slot(name: str) -> bool:
    return name.startswith(SLOT_PREFIX)


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(64 * 1024).decode("utf-8", "replace")
    except OSError:
        return None


def _of_the_image(where: Path, next_step: str) -> ConfigError:
    return ConfigError("the service directory is none that hermesd has made", where=str(where), next_step=next_step)

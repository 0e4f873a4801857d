"""Whatever starts hermesd at boot and again after a crash, behind one protocol: systemd, launchd, Windows, s6, none.

``detect_service_manager`` says which one this machine has; ``hermesctl service`` and ``gateway install`` use it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from hermesd.errors import ConfigError, HermesError

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["systemd", "launchd", "windows", "s6", "none"]
Scope = Literal["user", "system"]

DAEMON = "hermesd"
SCAN_DIRECTORY_VARIABLE = "HERMES_S6_SCANDIR"
"""The directory that an s6-svscan of this user looks after, where that is not process 1."""


class Installation(NamedTuple):
    """What is to be run, and as whom. Paths are absolute.

    ``user`` is '' in the user scope. ``search_path`` is the PATH that tools of agents get, '' for the manager's own.
    ``stop_s`` is how long an ordered stop may take.
    """

    scope: Scope
    hermesd: str
    hermesctl: str
    home: Path
    socket: Path
    user: str = ""
    group: str = ""
    search_path: str = ""
    stop_s: int = 60


class ServiceFile(NamedTuple):
    """A file that the manager reads."""

    path: Path
    text: str


class ServiceState(NamedTuple):
    """What the manager knows: ``state`` is its own word for it, ``detail`` a line for people.

    ``since`` is when it came into this state, ``starts`` when it is started unasked; '' where that is not known.
    """

    running: bool
    state: str
    enabled: bool
    pid: int = 0
    restarts: int = 0
    detail: str = ""
    since: str = ""
    starts: str = ""


class ServiceCommandError(HermesError):
    """The manager's own command failed; ``what`` holds its status and what it said."""


class NotInstalledError(HermesError):
    """There is no such service."""


class ServiceManager(Protocol):
    """One scope of one manager. Methods raise HermesError with the next step; lists are sentences to print."""

    @property
    def kind(self) -> Kind:
        """Which one it is."""

    def files(self, installation: Installation) -> list[ServiceFile]:
        """What ``install`` would write."""

    def install(self, installation: Installation, *, force: bool = False) -> list[str]:
        """Write the files (``force``: also over ones changed by hand), enable and start. Repeating it is harmless."""

    def uninstall(self, *, force: bool = False) -> list[str]:
        """Stop, disable, remove the files. The home stays as it is."""

    def start(self, name: str = DAEMON) -> list[str]:
        """Start a service that is installed."""

    def stop(self, name: str = DAEMON) -> list[str]:
        """Stop it until it is started again, or the machine is."""

    def restart(self, name: str = DAEMON) -> list[str]:
        """Stop and start it; clients that connect meanwhile wait."""

    def is_running(self, name: str = DAEMON) -> bool:
        """Whether it runs now."""

    def status(self) -> ServiceState:
        """The daemon as the manager sees it. Raises NotInstalledError."""

    def log_command(self, *, lines: int, follow: bool) -> list[str]:
        """The command that prints what it has written."""

    def supports_runtime_registration(self) -> bool:
        """Whether a profile may be a service of its own, made while everything runs: s6 only."""

    def register_profile_gateway(self, profile: str, *, extra_env: Mapping[str, str] | None = None) -> None:
        """Make ``gateway-<profile>``."""

    def unregister_profile_gateway(self, profile: str) -> None:
        """Remove it."""

    def list_profile_gateways(self) -> list[str]:
        """The profiles that have one."""


class WithoutRegistration:
    """The part of the protocol that only s6 has: the others refuse it."""

    def supports_runtime_registration(self) -> bool:
        """See ServiceManager."""
        return False

    def register_profile_gateway(self, profile: str, *, extra_env: Mapping[str, str] | None = None) -> None:
        """See ServiceManager."""
        raise _no_registration(profile)

    def unregister_profile_gateway(self, profile: str) -> None:
        """See ServiceManager."""
        raise _no_registration(profile)

    def list_profile_gateways(self) -> list[str]:
        """See ServiceManager."""
        raise _no_registration("")


def _no_registration(profile: str) -> ConfigError:
    return ConfigError(
        "profiles are services of their own only under s6",
        where=f"gateway-{profile}" if profile else "",
        next_step="use `hermesctl gateway start|stop`: hermesd runs the gateways of all profiles",
    )


def detect_service_manager(
    root: Path = Path("/"), platform: str = sys.platform, environment: Mapping[str, str] = os.environ
) -> Kind:
    """Which manager this machine has, also for an unprivileged user inside a container.

    ``/proc/1/comm`` and ``/run`` are readable by everyone, ``/proc/1/exe`` is not. ``root`` is another ``/``.
    """
    if environment.get(SCAN_DIRECTORY_VARIABLE):
        return "s6"
    if platform == "darwin":
        return "launchd"
    if platform == "win32":
        return "windows"
    if _first_process(root) == "s6-svscan":
        return "s6"
    if (root / "run/systemd/system").is_dir():  # sd_booted(3)
        return "systemd"
    return "none"


def _first_process(root: Path) -> str:
    try:
        return (root / "proc/1/comm").read_text().strip()
    except OSError:
        return ""

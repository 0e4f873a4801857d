"""No service manager at all: says how to run hermesd without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from hermesd.deploy.manager import DAEMON, Kind, NotInstalledError, ServiceState, WithoutRegistration
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from hermesd.deploy.manager import Installation, ServiceFile

HOW_TO_DO_WITHOUT = "run hermesd --detach, at boot too in the way of this machine"


class Unmanaged(WithoutRegistration):
    """Every method refuses, with the command that does without a manager."""

    kind: Kind = "none"

    def files(self, installation: Installation) -> list[ServiceFile]:
        """See ServiceManager."""
        refuse("name the one whose files you want: --manager systemd")

    def install(self, installation: Installation, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        refuse(HOW_TO_DO_WITHOUT)

    def uninstall(self, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        raise NotInstalledError("hermesd is not installed as a service", next_step="stop it with `hermesctl stop`")

    def start(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        refuse("start it with `hermesd --detach`")

    def stop(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        refuse("stop it with `hermesctl stop`")

    def restart(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        refuse("`hermesctl stop`, then `hermesd --detach`")

    def is_running(self, name: str = DAEMON) -> bool:
        """See ServiceManager."""
        return False

    def status(self) -> ServiceState:
        """See ServiceManager."""
        refuse("`hermesctl status` asks the daemon itself")

    def log_command(self, *, lines: int, follow: bool) -> list[str]:
        """See ServiceManager."""
        refuse("`hermesctl logs` asks the daemon itself")


def refuse(next_step: str) -> NoReturn:
    """Raise ConfigError: there is none."""
    raise ConfigError("no service manager runs on this machine", next_step=next_step)

"""A scheduled task of Windows that starts hermesd inside WSL, where it runs; schtasks.exe is called from there.

Written after https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema; no test runs it on Windows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from hermesd.deploy import unitfile
from hermesd.deploy.command import check_program, run, succeeds
from hermesd.deploy.installed_home import make_home
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

TASK = "hermesd"
FILE_NAME = "hermesd-task.xml"

_XML = """\
<?xml version="1.0" encoding="UTF-8"?>
<Task version="1.4" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo><Description>hermesd in WSL, of the home {home}</Description></RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>10</Count></RestartOnFailure>
  </Settings>
  <Actions>
    <Exec>
      <Command>wsl.exe</Command>
      <Arguments>--distribution {distribution} --exec {program} --home {quoted_home}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


class WindowsTask(WithoutRegistration):
    """The user's task."""

    kind: Kind = "windows"

    def __init__(self, *, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(os.environ if environment is None else environment)

    def files(self, installation: Installation) -> list[ServiceFile]:
        """See ServiceManager."""
        text = _XML.format(
            home=escape(str(installation.home)),
            distribution=escape(_word(self._environment.get("WSL_DISTRO_NAME", "Debian"))),
            program=escape(_word(installation.hermesd)),
            quoted_home=escape(_word(str(installation.home))),
        )
        return [ServiceFile(installation.home / FILE_NAME, text)]

    def install(self, installation: Installation, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        for program in ("schtasks.exe", "wslpath"):
            check_program(program, self._environment)
        (file,) = self.files(installation)
        make_home(installation)
        unitfile.write(file)
        of_windows = run(["wslpath", "-w", str(file.path)], self._environment).strip()
        run(["schtasks.exe", "/Create", "/TN", TASK, "/XML", of_windows, "/F"], self._environment)
        return [f"wrote {file.path}", *self.start()]

    def uninstall(self, *, force: bool = False) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        run(["schtasks.exe", "/Delete", "/TN", TASK, "/F"], self._environment)
        return [f"removed the task {TASK}; stop the daemon with `hermesctl stop`"]

    def start(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        run(["schtasks.exe", "/Run", "/TN", TASK], self._environment)
        return [f"{name} runs"]

    def stop(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        self._refuse_unless_installed()
        run(["schtasks.exe", "/End", "/TN", TASK], self._environment)
        return [f"{name} has stopped"]

    def restart(self, name: str = DAEMON) -> list[str]:
        """See ServiceManager."""
        return [*self.stop(name), *self.start(name)]

    def is_running(self, name: str = DAEMON) -> bool:
        """See ServiceManager."""
        query = ["schtasks.exe", "/Query", "/TN", TASK]
        return succeeds(query, self._environment) and "Running" in run(query, self._environment)

    def status(self) -> ServiceState:
        """See ServiceManager."""
        self._refuse_unless_installed()
        running = self.is_running()
        return ServiceState(running=running, state="running" if running else "ready", enabled=True, starts="at log-on")

    def log_command(self, *, lines: int, follow: bool) -> list[str]:
        """See ServiceManager."""
        raise ConfigError("Windows keeps no log of a task", next_step="use `hermesctl logs`")

    def _refuse_unless_installed(self) -> None:
        if not succeeds(["schtasks.exe", "/Query", "/TN", TASK], self._environment):
            raise NotInstalledError(
                "hermesd is not installed as a service",
                where=f"the task {TASK}",
                next_step="install it: hermesctl service install",
            )


def _word(text: str) -> str:
    """One word of a Windows command line."""
    if '"' in text or not text.isprintable():
        raise ConfigError("has a character in it that a task cannot hold", where=repr(text), next_step="choose another")
    return f'"{text}"' if " " in text else text

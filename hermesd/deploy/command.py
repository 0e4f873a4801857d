"""Running a service manager's own command, and wording its failure."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from hermesd.deploy.manager import ServiceCommandError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_SAID_CHARACTERS = 2000


def check_program(name: str, environment: Mapping[str, str]) -> None:
    """Raise ServiceCommandError where the manager's own command is not there, before anything is written."""
    if shutil.which(name, path=environment.get("PATH")) is None:
        raise ServiceCommandError(f"{name} is not installed", next_step="run hermesd --detach instead")


def run(command: Sequence[str], environment: Mapping[str, str], *, timeout_s: float = 60.0, next_step: str = "") -> str:
    """Its output. Blocks. Raises ServiceCommandError when it cannot be run, fails, or takes too long."""
    shown = " ".join(command)
    done = _run(command, environment, timeout_s, next_step)
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip() or done.stdout.strip())[:MAX_SAID_CHARACTERS]
    raise ServiceCommandError(f"{shown} failed with status {done.returncode}: {said}", next_step=next_step)


def succeeds(command: Sequence[str], environment: Mapping[str, str], *, timeout_s: float = 60.0) -> bool:
    """Whether it ends with status 0. Raises ServiceCommandError when it cannot be run, or takes too long."""
    return _run(command, environment, timeout_s, "").returncode == 0


def _run(
    command: Sequence[str], environment: Mapping[str, str], timeout_s: float, next_step: str
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise ServiceCommandError(f"{command[0]} is not installed", next_step="run hermesd --detach instead") from error
    except subprocess.TimeoutExpired as error:
        what = f"{' '.join(command)} has not ended within {timeout_s:g} s"
        raise ServiceCommandError(what, next_step=next_step) from error

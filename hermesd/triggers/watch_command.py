"""A command as a watch sees it: a script that is run at the instants of a schedule, and what it printed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from hermesd.errors import UsageError
from hermesd.triggers.alarm import Alarm
from hermesd.triggers.script import find_script, run_script
from hermesd.triggers.watch import ONLY, NotThisTimeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.store.watches import Changes
    from hermesd.triggers.runner import Surroundings
    from hermesd.triggers.schedule import Schedule


class CommandSource:
    """``triggers.watch.Source``. ``around`` gives what the profile gives its scripts; it may raise NotFoundError."""

    def __init__(self, command: str, schedule: Schedule, around: Callable[[], Surroundings], *, tag: str) -> None:
        self._command = command
        self._schedule = schedule
        self._around = around
        self._tag = tag

    async def run(self, changed: Callable[[], None], *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled; an instant that was missed while the machine slept is made up for once."""
        alarm = Alarm()
        try:
            task_status.started()
            while True:
                alarm.set(self._schedule.after(time.time()))
                if await alarm.wait() == "due":
                    changed()
        finally:
            alarm.close()

    async def look(self) -> dict[str, str]:
        """Run it. Raises NotThisTimeError when it fails or is not there, NotFoundError when its profile is gone."""
        around = self._around()
        try:
            path = find_script(self._command, around.profile.root / "scripts")
        except UsageError as error:
            raise NotThisTimeError(error.what, next_step=error.next_step) from None
        around.workspace.mkdir(mode=0o700, parents=True, exist_ok=True)
        said = await run_script(path, cwd=around.workspace, env=around.env, tag=f"{around.tag}watch:{self._tag}")
        if said.error:
            raise NotThisTimeError(f"the command {self._command} failed: {said.error}", next_step="run it by hand")
        return {ONLY: said.text}

    async def own(self, changes: Changes, since: float, until: float) -> Changes:
        """Nobody can tell since when the output is another: all of it."""
        del since, until
        await trio.lowlevel.checkpoint()
        return changes

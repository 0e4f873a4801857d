"""What the running daemon knows of its own health, as findings with a next step."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

from hermesd.rpc.wire import DoctorCheck

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermesd.fleet import Fleet
    from hermesd.home import Home
    from hermesd.store.sqlite import SqliteStore
    from hermesd.supervision.service import ServiceStatus
    from hermesd.supervision.stall import StallWatchdog

LOW_DISK_BYTES = 200 * 1024 * 1024


class Health:
    """Findings from the tree, the store, the profiles, the loop and the disk."""

    def __init__(
        self,
        home: Home,
        store: SqliteStore,
        tree: Callable[[], ServiceStatus],
        fleet: Fleet,
        watchdog: StallWatchdog,
    ) -> None:
        self._home = home
        self._store = store
        self._tree = tree
        self._fleet = fleet
        self._watchdog = watchdog

    def checks(self) -> list[DoctorCheck]:
        """Everything looked at, problems and good news alike."""
        return [
            self._version(),
            self._disk(),
            self._writable(),
            *self._services(),
            *self._profiles(),
            *self._mcp_servers(),
            *self._plugins(),
            *self._stalls(),
        ]

    def _version(self) -> DoctorCheck:
        version = ".".join(map(str, sys.version_info[:3]))
        return DoctorCheck(name="python", verdict="ok", detail=f"Python {version}, pid {os.getpid()}")

    def _disk(self) -> DoctorCheck:
        free = shutil.disk_usage(self._home.root).free
        detail = f"{free // (1024 * 1024):,} MB free"
        if free < LOW_DISK_BYTES:
            step = f"free some space on the disk of {self._home.root}"
            return DoctorCheck(name="disk", verdict="warning", detail=detail, next_step=step)
        return DoctorCheck(name="disk", verdict="ok", detail=detail)

    def _writable(self) -> DoctorCheck:
        if self._store.failure:
            step = "free space or repair the disk; hermesd tries again by itself"
            return DoctorCheck(name="store", verdict="problem", detail=self._store.failure, next_step=step)
        return DoctorCheck(name="store", verdict="ok", detail=str(self._store.path))

    def _services(self) -> Iterator[DoctorCheck]:
        bad = [item for item in _flatten(self._tree()) if item.state in ("failed", "backoff")]
        for item in bad:
            step = f"mend the cause, then: hermesctl service start {item.name}"
            verdict = "problem" if item.state == "failed" else "warning"
            detail = f"{item.state}: {item.last_error}"
            yield DoctorCheck(
                name=item.name, verdict="problem" if verdict == "problem" else "warning", detail=detail, next_step=step
            )
        if not bad:
            yield DoctorCheck(name="services", verdict="ok", detail="all are as they should be")

    def _profiles(self) -> Iterator[DoctorCheck]:
        if problem := self._fleet.misnamed():
            detail = f"it names no profile, so default is meant: {problem}"
            step = "choose one: hermesctl profile use NAME"
            yield DoctorCheck(name="active_profile", verdict="warning", detail=detail, next_step=step)
        for name, error in self._fleet.broken.items():
            detail = f"{error.where}: {error.what}" if error.where else error.what
            yield DoctorCheck(name=f"config of {name}", verdict="problem", detail=detail, next_step=error.next_step)

    def _mcp_servers(self) -> Iterator[DoctorCheck]:
        """Servers that a person may have to help: those that are down, however often they are tried again."""
        for profile, unit in self._fleet.units.items():
            for name, entry in unit.mcp.entries.items():
                state = entry.server.state if entry.server is not None and entry.config.enabled else ""
                why = entry.server.last_error if entry.server is not None else ""
                where = f"profile/{profile}/mcp/{name}"
                if state == "auth":
                    step = unit.mcp.login_command(name)
                    yield DoctorCheck(name=where, verdict="warning", detail=f"auth: {why}", next_step=step)
                elif state == "failed":
                    step = f"mend mcp_servers.{name} in config.yaml"
                    yield DoctorCheck(name=where, verdict="problem", detail=f"failed: {why}", next_step=step)
                elif state == "backoff":
                    step = f"see `{unit.mcp.command('show', name)}`, mend what it says, then "
                    step += f"`{unit.mcp.command('restart', name)}`"
                    yield DoctorCheck(name=where, verdict="warning", detail=f"down, tried again: {why}", next_step=step)

    def _plugins(self) -> Iterator[DoctorCheck]:
        """Those that are enabled and could not be loaded."""
        for profile, unit in self._fleet.units.items():
            for plugin in unit.plugins.plugins.values() if unit.settings.config.plugins.enabled else ():
                if (error := plugin.error) is not None:
                    where = f"profile/{profile}/plugins/{plugin.name}"
                    yield DoctorCheck(name=where, verdict="problem", detail=error.what, next_step=error.next_step)

    def _stalls(self) -> Iterator[DoctorCheck]:
        for stall in list(self._watchdog.stalls)[-5:]:
            detail = f"{stall.service or stall.task} held the loop for {stall.duration_s * 1000:.0f} ms:\n{stall.stack}"
            step = "report this stack, or stop the service named"
            yield DoctorCheck(name="stall", verdict="warning", detail=detail, next_step=step)


def _flatten(status: ServiceStatus) -> Iterator[ServiceStatus]:
    yield status
    for child in status.children:
        yield from _flatten(child)

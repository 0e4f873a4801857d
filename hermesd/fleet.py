"""All profiles of a home: loaded, started, reloaded, created and removed; a broken one leaves the others alone."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.apart import ITS_OWN, MAIN, Apart, is_apart
from hermesd.config.load import load_settings, try_load
from hermesd.errors import ConfigError, ConflictError, HermesError, NotFoundError, StoreError
from hermesd.gateway.profile import ProfileUnit
from hermesd.gateway.state import append_boot_log
from hermesd.gateway.states import FILE_THREADS, GatewayStates, gateway_status
from hermesd.home import DEFAULT_PROFILE, check_profile_name
from hermesd.mcp import lists, pins
from hermesd.profiles import ProfileStore
from hermesd.rpc.wire import ProfileSummary, ReloadResult
from hermesd.supervision.service import ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermesd.config.settings import Settings
    from hermesd.gateway.shared import Shared
    from hermesd.gateway.state import DesiredState
    from hermesd.home import Profile
    from hermesd.supervision.supervisor import Supervisor

log = logging.getLogger("hermesd.fleet")

PROFILE_GROUP = 2
RENAMING = "fleet:renaming"


class Fleet:
    """The profiles of one daemon by name. ``broken`` holds what is wrong with those that could not be loaded."""

    def __init__(self, shared: Shared, root: Supervisor, *, loaded: Callable[[Settings], None]) -> None:
        self._shared = shared
        self._root = root
        self._loaded = loaded
        self._files = ProfileStore(shared.home)
        self.units: dict[str, ProfileUnit] = {}
        self.broken: dict[str, HermesError] = {}
        self.apart = Apart(shared.home)
        self._states = GatewayStates()
        self._lock = trio.Lock()

    # -- coming up -------------------------------------------------------------------------------------------------

    async def boot(self) -> None:
        """Load every profile and start the gateways that are to run. Raises ConfigError for the default one only."""
        for left in self._files.sweep():
            log.warning("removed what a crash left of a profile: %s", left)
        if problem := self.misnamed():
            log.warning("active_profile names no profile, so default is meant: %s", problem)
        await self._end_renaming()
        apart: list[Profile] = []
        for profile in self._shared.home.profiles():
            try:
                settings = load_settings(profile)
                if is_apart(settings):
                    if not await self.apart.has_slot(profile.name):
                        await self._leave_nothing_here(settings)
                    apart.append(profile)
                elif await self._boot_task(settings):
                    apart.append(profile)
            except ConflictError as error:
                await self._refuse(profile.name, error)
            except ConfigError as error:
                if profile.name == DEFAULT_PROFILE:
                    raise
                await self._refuse(profile.name, error)
        for name, failure in (await self.apart.boot(apart, self.units)).items():
            await self._refuse(name, failure)
        for name, unit in self.units.items():
            if unit.desired == "running":
                self._log_boot(f"{name}: starting, as desired")
                await unit.start_gateway()
            self.note_state(name)

    async def _boot_task(self, settings: Settings) -> bool:
        """Whether it goes on as a process of its own, for it was one, and has left work in the store of that."""
        left = await self.apart.left_behind(settings)
        goes_on = not left.is_empty and self.apart.is_possible()
        if not goes_on:
            await self._open(settings)
        if not left.is_empty:
            await self._refuse(settings.profile.name, self.apart.unanswered(settings, left, whose=ITS_OWN))
        return goes_on

    async def answering(self) -> None:
        """Return once every profile takes up messages and delivers; platforms are not waited for."""
        for name in list(self.units):
            for path in (f"profile/{name}", f"profile/{name}/turns", f"profile/{name}/delivery"):
                await self._root.settled(path)

    async def _admit(self, settings: Settings) -> None:
        """A task of this daemon, or a process of its own. Raises HermesError."""
        if is_apart(settings):
            await self._leave_nothing_here(settings)
            await self.apart.add(settings.profile)
        else:
            await self._open(settings)

    async def _leave_nothing_here(self, settings: Settings) -> None:
        """Raises ConflictError while work of the profile is in this store, which a process of its own never sees.

        The profile is a task of this daemon then, so that the work gets done.
        """
        name = settings.profile.name
        left = await self._shared.store.backlog(name)
        if left.is_empty:
            return
        if name not in self.units:
            await self._open(settings)
        raise self.apart.unanswered(settings, left, whose=MAIN)

    async def _leave_nothing_there(self, settings: Settings) -> None:
        """Raises ConflictError while work of the profile is in the store of its own process, which goes on then."""
        left = await self.apart.backlog(settings)
        if not left.is_empty:
            raise self.apart.unanswered(settings, left, whose=ITS_OWN)

    async def _open(self, settings: Settings) -> ProfileUnit:
        self._loaded(settings)
        found = self._states.read(settings.profile)
        if found.problem:
            log.error("%s", found.problem)
            self._log_boot(f"{settings.profile.name}: {found.problem}")
        unit = ProfileUnit(settings, self._shared, desired=found.desired_state)
        self.units[unit.name] = unit
        await unit.populate()
        spec = ServiceSpec(f"profile/{unit.name}", lambda: unit.supervisor, group=PROFILE_GROUP)
        await self._root.add(spec, wait=False)
        self.broken.pop(unit.name, None)
        return unit

    def _log_boot(self, line: str) -> None:
        try:
            append_boot_log(self._shared.home, line)
        except (OSError, ConfigError) as error:
            log.warning("logs/boot.log lacks a line (%s): %s", error, line)

    async def _close(self, name: str, *, drain_s: float | None = None) -> None:
        """Stop a profile's services within ``drain_s``, by default what its configuration allows a shutdown."""
        if name in self.apart:
            await self.apart.remove(name)
        unit = self.units.get(name)
        if unit is None:
            return
        allowed_s = unit.settings.config.shutdown.drain_s if drain_s is None else drain_s
        unit.supervisor.limit(trio.current_time() + allowed_s)
        await self._root.remove(f"profile/{name}")
        del self.units[name]
        self._states.forget(name)
        await unit.close()
        await self._reconcile_http()

    async def _refuse(self, name: str, error: HermesError) -> None:
        self.broken[name] = error
        log.error("the configuration of %s is refused: %s", name, error)
        data: dict[str, object] = {"where": error.where, "error": error.what, "next_step": error.next_step}
        await self._record("config.refused", name, data)

    async def _record(self, kind: str, name: str, data: dict[str, object] | None = None) -> None:
        """Say what has happened; a disk that refuses to note it must not undo or hide it."""
        try:
            await self._shared.store.record_event(kind, subject=name, profile=name, data=data)
        except StoreError as error:
            log.warning("the event %s of %s is not recorded: %s", kind, name, error.what)

    async def quiesce(self) -> None:
        """Nothing new from any platform."""
        for unit in self.units.values():
            await unit.quiesce()

    async def close(self) -> None:
        """After the tree has ended."""
        for name, unit in self.units.items():
            self.note_state(name)
            await unit.close()

    # -- looking ---------------------------------------------------------------------------------------------------

    def unit(self, name: str) -> ProfileUnit:
        """The running profile; raises NotFoundError, or its ConfigError when it is broken."""
        name = name or self.current()
        if name in self.units:
            return self.units[name]
        if name in self.apart:
            raise self.apart.refusal(name)
        if name in self.broken:
            raise self.broken[name]
        raise NotFoundError(f"no profile {name!r}", next_step="see `hermesctl profile list`")

    def current(self) -> str:
        """The profile that calls without one mean."""
        return self._files.current()

    def misnamed(self) -> str:
        """What is wrong with ``active_profile``, '' when nothing is."""
        return self._files.misnamed()

    def summaries(self) -> list[ProfileSummary]:
        """Every profile, the broken ones too."""
        names = [
            DEFAULT_PROFILE,
            *sorted((self.units.keys() | self.broken.keys() | self.apart.names) - {DEFAULT_PROFILE}),
        ]
        current = self.current()
        return [self._summary(name, is_current=name == current) for name in names]

    def _summary(self, name: str, *, is_current: bool) -> ProfileSummary:
        if name in self.apart:
            found = self.apart.summary(name, is_current=is_current)
            return msgspec.structs.replace(found, error=str(self.broken.get(name, "")) or found.error)
        if name in self.broken and name not in self.units:
            path = str(self._shared.home.profile_root(name))
            return ProfileSummary(
                name=name,
                desired="",
                state="startup_failed",
                path=path,
                error=str(self.broken[name]),
                current=is_current,
            )
        unit = self.units[name]
        states = unit.platform_states()
        return ProfileSummary(
            name=name,
            desired=unit.desired,
            state=gateway_status(unit.gateway_on, states.values()),
            model=unit.settings.config.model.default,
            platforms=states,
            path=str(unit.settings.profile.root),
            current=is_current,
            error=str(self.broken.get(name, "")),
        )

    def turns_running(self) -> int:
        """Turns under way in all profiles."""
        return sum(unit.turns_running for unit in self.units.values())

    def processes(self) -> list[tuple[str, str, float]]:
        """Background processes that run: profile, command, since when."""
        return [
            (name, item.command, item.started_at)
            for name, unit in self.units.items()
            for item in unit.processes.list()
            if item.status is None
        ]

    # -- gateways --------------------------------------------------------------------------------------------------

    async def start_gateway(self, name: str) -> None:
        """Desired state running, then the platforms."""
        async with self._lock:
            if self._is_apart(name):
                await self.apart.start(name or self.current())
                await self._record("gateway.running", name or self.current())
                return
            unit = self.unit(name)
            await self._desire(unit, "running")
            await unit.start_gateway()
            self.note_state(unit.name)

    async def stop_gateway(self, name: str) -> None:
        """Desired state stopped, then the platforms are drained."""
        async with self._lock:
            if self._is_apart(name):
                await self.apart.stop(name or self.current())
                await self._record("gateway.stopped", name or self.current())
                return
            unit = self.unit(name)
            await self._desire(unit, "stopped")
            await unit.stop_gateway()
            await self._reconcile_http()
            self.note_state(unit.name)

    async def restart_gateway(self, name: str) -> None:
        """Stop and start the platforms; desired state running."""
        async with self._lock:
            if self._is_apart(name):
                await self.apart.restart(name or self.current())
                await self._record("gateway.running", name or self.current())
                return
            unit = self.unit(name)
            await self._desire(unit, "running")
            await unit.stop_gateway()
            await unit.start_gateway()
            self.note_state(unit.name)

    def _is_apart(self, name: str) -> bool:
        return (name or self.current()) in self.apart

    async def _desire(self, unit: ProfileUnit, desired: DesiredState) -> None:
        await self._states.desire(unit, desired)
        await self._record(f"gateway.{desired}", unit.name)

    async def _reconcile_http(self) -> None:
        await self._shared.http.reconcile({a for unit in self.units.values() for a in unit.http_addresses()})

    def note_state(self, name: str) -> None:
        """Let gateway_state.json say what is, where the profile is a task."""
        if (unit := self.units.get(name)) is not None:
            self._states.note(unit)

    # -- configuration ---------------------------------------------------------------------------------------------

    async def reload(self, names: Iterable[str] | None = None) -> ReloadResult:
        """Read configuration again and apply what changed; what is wrong is refused and the old stays in force."""
        applied: list[str] = []
        refused: list[str] = []
        async with self._lock:
            profiles = self._shared.home.profiles()
            for profile in profiles:
                if names is None or profile.name in names:
                    await self._reload_one(profile, applied, refused)
            there = {profile.name for profile in profiles}
            for gone in (self.units.keys() | self.apart.names) - there:
                await self._close(gone)
                applied.append(f"{gone}: removed")
            for gone in self.broken.keys() - there:
                del self.broken[gone]
            await self._reconcile_http()
        return ReloadResult(applied=applied, refused=refused)

    async def _reload_one(self, profile: Profile, applied: list[str], refused: list[str]) -> None:
        found = try_load(profile)
        if isinstance(found, ConfigError):
            refused.append(str(found))
            if str(self.broken.get(profile.name)) != str(found):
                await self._refuse(profile.name, found)
            return
        try:
            touched = await self._take(profile.name, found)
        except HermesError as error:
            refused.append(str(error))
            await self._refuse(profile.name, error)
            return
        self.broken.pop(profile.name, None)
        if touched:
            applied += [f"{profile.name}: {item}" for item in touched]
            await self._record("config.applied", profile.name, {"touched": touched})
            log.info("new configuration of %s in force: %s", profile.name, ", ".join(touched))
            self.note_state(profile.name)

    async def _take(self, name: str, settings: Settings) -> list[str]:
        if is_apart(settings) and name in self.apart:
            return []  # its own daemon watches its files, too
        if name in self.apart:
            await self._leave_nothing_there(settings)
            await self._close(name)
            try:
                await self._leave_nothing_there(settings)
            except ConflictError:  # it has taken on something to the last
                await self.apart.add(settings.profile)
                raise
        elif is_apart(settings):
            await self._leave_nothing_here(settings)
            await self._close(name)
        unit = self.units.get(name)
        if unit is None:
            try:
                await self._admit(settings)
            finally:  # also where it stays a task for now
                await self._start_desired(name)
            return ["loaded"]
        touched = await unit.apply(settings)
        if touched:
            self._loaded(settings)
        return touched

    async def _start_desired(self, name: str) -> None:
        unit = self.units.get(name)
        if unit is not None and unit.desired == "running":
            await unit.start_gateway()
            self.note_state(name)

    # -- profiles --------------------------------------------------------------------------------------------------

    async def create(self, name: str, *, clone_from: str, description: str) -> None:
        """A new profile, stopped."""
        async with self._lock:
            profile = await trio.to_thread.run_sync(
                lambda: self._files.create(name, clone_from=clone_from, description=description), limiter=FILE_THREADS
            )
            try:
                await self._admit(load_settings(profile))
            except HermesError as error:
                await self._refuse(name, error)
            await self._record("profile.created", name)

    async def delete(self, name: str) -> None:
        """Stop it and remove its directory and rows."""
        if name == DEFAULT_PROFILE:
            raise ConflictError(
                "the profile 'default' cannot be deleted", next_step="delete another, or edit its files"
            )
        async with self._lock:
            self._shared.home.profile(name)
            await self._close(name, drain_s=0.0)
            self.broken.pop(name, None)
            await self._shared.store.delete_profile(name)  # first: a later profile of this name must find nothing
            await trio.to_thread.run_sync(self._files.delete, name, limiter=FILE_THREADS)
            await pins.move(self._shared.store, name, None)
            await lists.move(self._shared.store, name, None)
            await self.apart.move_log(name, None)

    async def rename(self, name: str, new_name: str) -> None:
        """Stop it, move directory and rows, open it again as it was."""
        async with self._lock:
            was_on = name in self.units and self.units[name].gateway_on
            self._shared.home.profile(name)
            check_profile_name(new_name)
            if self._shared.home.profile_root(new_name).exists():
                raise ConflictError(f"there is a profile {new_name!r} already", next_step="choose another name")
            await self._close(name)
            self.broken.pop(name, None)
            await self._shared.store.set_value(RENAMING, msgspec.json.encode([name, new_name]))
            try:
                await trio.to_thread.run_sync(self._files.rename, name, new_name, limiter=FILE_THREADS)
            finally:
                await self._end_renaming()
            await self.apart.move_log(name, new_name)
            await self._open_renamed(new_name, gateway_on=was_on)

    async def _open_renamed(self, name: str, *, gateway_on: bool) -> None:
        try:
            await self._admit(load_settings(self._shared.home.profile(name)))
        except HermesError as error:
            await self._refuse(name, error)
        unit = self.units.get(name)
        if unit is None:
            return  # broken, or a process of its own
        if gateway_on:
            await unit.start_gateway()
        self.note_state(name)

    async def _end_renaming(self) -> None:
        """Let the rows follow a directory that was renamed; at boot, what a crash in between left to do."""
        noted = await self._shared.store.get_value(RENAMING)
        if noted is None:
            return
        old, new = msgspec.json.decode(noted, type=tuple[str, str])
        names = {profile.name for profile in self._shared.home.profiles()}
        if new in names and old not in names:
            await self._shared.store.rename_profile(old, new)
            await pins.move(self._shared.store, old, new)
            await lists.move(self._shared.store, old, new)
        await self._shared.store.set_value(RENAMING, None)

    async def use(self, name: str) -> None:
        """Make it the current one."""
        self._shared.home.profile(name)
        await trio.to_thread.run_sync(self._files.use, name, limiter=FILE_THREADS)

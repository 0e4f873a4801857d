"""All profiles of a home: loaded, started, reloaded, created and removed; a broken one leaves the others alone."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.config.load import load_settings, try_load
from hermesd.errors import ConfigError, ConflictError, NotFoundError
from hermesd.gateway.profile import ProfileUnit
from hermesd.gateway.state import (
    DesiredState,
    GatewayState,
    PlatformState,
    RunState,
    append_boot_log,
    read_state,
    write_state,
)
from hermesd.home import DEFAULT_PROFILE, check_profile_name
from hermesd.mcp import pins
from hermesd.profiles import ProfileStore
from hermesd.rpc.wire import ProfileSummary, ReloadResult
from hermesd.supervision.service import ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermesd.config.settings import Settings
    from hermesd.gateway.shared import Shared
    from hermesd.home import Profile
    from hermesd.supervision.supervisor import Supervisor

log = logging.getLogger("hermesd.fleet")

PROFILE_GROUP = 2
FILE_THREADS = trio.CapacityLimiter(4)


class Fleet:
    """The profiles of one daemon by name. ``broken`` holds what is wrong with those that could not be loaded."""

    def __init__(self, shared: Shared, root: Supervisor, *, loaded: Callable[[Settings], None]) -> None:
        self._shared = shared
        self._root = root
        self._loaded = loaded
        self._files = ProfileStore(shared.home)
        self.units: dict[str, ProfileUnit] = {}
        self.broken: dict[str, ConfigError] = {}
        self._noted: dict[str, GatewayState] = {}
        self._lock = trio.Lock()

    # -- coming up -------------------------------------------------------------------------------------------------

    async def boot(self) -> None:
        """Load every profile and start the gateways that are to run. Raises ConfigError for the default one only."""
        for left in self._files.sweep():
            log.warning("removed what a crash left of a profile: %s", left)
        for profile in self._shared.home.profiles():
            try:
                await self._open(load_settings(profile))
            except ConfigError as error:
                if profile.name == DEFAULT_PROFILE:
                    raise
                await self._refuse(profile.name, error)
        for name, unit in self.units.items():
            if unit.desired == "running":
                append_boot_log(self._shared.home, f"{name}: starting, as desired")
                await unit.open_webhooks()
                await unit.start_gateway()
                self.note_state(name)

    async def _open(self, settings: Settings) -> ProfileUnit:
        self._loaded(settings)
        found = read_state(settings.profile)
        if found.problem:
            log.error("%s", found.problem)
            append_boot_log(self._shared.home, f"{settings.profile.name}: {found.problem}")
        unit = ProfileUnit(settings, self._shared, desired=found.desired_state)
        self.units[unit.name] = unit
        await unit.populate()
        spec = ServiceSpec(f"profile/{unit.name}", lambda: unit.supervisor, group=PROFILE_GROUP)
        await self._root.add(spec, wait=False)
        self.broken.pop(unit.name, None)
        return unit

    async def _close(self, name: str) -> None:
        unit = self.units.pop(name, None)
        if unit is not None:
            await self._root.remove(f"profile/{name}")
            await unit.close()
            await self._reconcile_http()

    async def _refuse(self, name: str, error: ConfigError) -> None:
        self.broken[name] = error
        log.error("the configuration of %s is refused: %s", name, error)
        data = {"where": error.where, "error": error.what, "next_step": error.next_step}
        await self._shared.store.record_event("config.refused", subject=name, profile=name, data=data)

    async def quiesce(self) -> None:
        """Nothing new from any platform."""
        for unit in self.units.values():
            await unit.quiesce()

    async def close(self) -> None:
        """After the tree has ended."""
        for unit in self.units.values():
            await unit.close()

    # -- looking ---------------------------------------------------------------------------------------------------

    def unit(self, name: str) -> ProfileUnit:
        """The running profile; raises NotFoundError, or its ConfigError when it is broken."""
        name = name or self.current()
        if name in self.units:
            return self.units[name]
        if name in self.broken:
            raise self.broken[name]
        raise NotFoundError(f"no profile {name!r}", next_step="see `hermesctl profile list`")

    def current(self) -> str:
        """The profile that calls without one mean."""
        return self._files.current()

    def summaries(self) -> list[ProfileSummary]:
        """Every profile, the broken ones too."""
        names = [DEFAULT_PROFILE, *sorted((self.units.keys() | self.broken.keys()) - {DEFAULT_PROFILE})]
        current = self.current()
        return [self._summary(name, is_current=name == current) for name in names]

    def _summary(self, name: str, *, is_current: bool) -> ProfileSummary:
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

    # -- gateways --------------------------------------------------------------------------------------------------

    async def start_gateway(self, name: str) -> None:
        """Desired state running, then the platforms."""
        async with self._lock:
            unit = self.unit(name)
            await self._desire(unit, "running")
            await unit.start_gateway()
            self.note_state(unit.name)

    async def stop_gateway(self, name: str) -> None:
        """Desired state stopped, then the platforms are drained."""
        async with self._lock:
            unit = self.unit(name)
            await self._desire(unit, "stopped")
            await unit.stop_gateway()
            await self._reconcile_http()
            self.note_state(unit.name)

    async def restart_gateway(self, name: str) -> None:
        """Stop and start the platforms; desired state running."""
        async with self._lock:
            unit = self.unit(name)
            await self._desire(unit, "running")
            await unit.stop_gateway()
            await unit.start_gateway()
            self.note_state(unit.name)

    async def _desire(self, unit: ProfileUnit, desired: DesiredState) -> None:
        profile = unit.settings.profile

        def write() -> None:
            write_state(profile, msgspec.structs.replace(read_state(profile), desired_state=desired))

        await trio.to_thread.run_sync(write, limiter=FILE_THREADS)
        unit.desired = desired
        self._noted.pop(unit.name, None)
        await self._shared.store.record_event(f"gateway.{desired}", subject=unit.name, profile=unit.name)

    async def _reconcile_http(self) -> None:
        await self._shared.http.reconcile({a for unit in self.units.values() for a in unit.http_addresses()})

    def note_state(self, name: str) -> None:
        """Write gateway_state.json as it is now, for people and for supervisors that look at files."""
        unit = self.units.get(name)
        if unit is None:
            return
        states = unit.platform_states()
        state = GatewayState(
            desired_state=unit.desired,
            pid=os.getpid(),
            gateway_state=gateway_status(unit.gateway_on, states.values()),
            platforms={platform: PlatformState(state=word) for platform, word in states.items()},
        )
        if self._noted.get(name) != state:
            self._noted[name] = state
            write_state(unit.settings.profile, state, durable=False)

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
            for gone in set(self.units) - {profile.name for profile in profiles}:
                await self._close(gone)
                applied.append(f"{gone}: removed")
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
        except ConfigError as error:
            refused.append(str(error))
            await self._refuse(profile.name, error)
            return
        self.broken.pop(profile.name, None)
        if touched:
            applied += [f"{profile.name}: {item}" for item in touched]
            data = {"touched": touched}
            await self._shared.store.record_event(
                "config.applied", subject=profile.name, profile=profile.name, data=data
            )
            log.info("new configuration of %s in force: %s", profile.name, ", ".join(touched))
            self.note_state(profile.name)

    async def _take(self, name: str, settings: Settings) -> list[str]:
        unit = self.units.get(name)
        if unit is None:
            await self._open(settings)
            return ["loaded"]
        touched = await unit.apply(settings)
        if touched:
            self._loaded(settings)
        return touched

    # -- profiles --------------------------------------------------------------------------------------------------

    async def create(self, name: str, *, clone_from: str, description: str) -> None:
        """A new profile, stopped."""
        async with self._lock:
            profile = await trio.to_thread.run_sync(
                lambda: self._files.create(name, clone_from=clone_from, description=description), limiter=FILE_THREADS
            )
            try:
                await self._open(load_settings(profile))
            except ConfigError as error:
                await self._refuse(name, error)
            await self._shared.store.record_event("profile.created", subject=name, profile=name)

    async def delete(self, name: str) -> None:
        """Stop it and remove its directory and rows."""
        if name == DEFAULT_PROFILE:
            raise ConflictError(
                "the profile 'default' cannot be deleted", next_step="delete another, or edit its files"
            )
        async with self._lock:
            self._shared.home.profile(name)
            await self._close(name)
            self.broken.pop(name, None)
            await trio.to_thread.run_sync(self._files.delete, name, limiter=FILE_THREADS)
            await self._shared.store.delete_profile(name)
            await pins.move(self._shared.store, name, None)
            await self._shared.store.record_event("profile.deleted", subject=name)

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
            await trio.to_thread.run_sync(self._files.rename, name, new_name, limiter=FILE_THREADS)
            await self._shared.store.rename_profile(name, new_name)
            await pins.move(self._shared.store, name, new_name)
            unit = await self._open(load_settings(self._shared.home.profile(new_name)))
            if was_on:
                await unit.start_gateway()
            self.note_state(new_name)

    async def use(self, name: str) -> None:
        """Make it the current one."""
        self._shared.home.profile(name)
        await trio.to_thread.run_sync(self._files.use, name, limiter=FILE_THREADS)


def gateway_status(on: bool, states: Iterable[str]) -> RunState:
    """gateway_state.json's word for the platforms' states."""
    found = set(states)
    if not on:
        return "draining" if "draining" in found else "stopped"
    if found & {"failed", "backoff"}:
        return "degraded" if "ready" in found else "startup_failed" if found <= {"failed"} else "degraded"
    return "starting" if "starting" in found else "running"

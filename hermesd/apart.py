"""Profiles with ``isolation: process``: each a hermesd of its own in an s6 slot, whose home is the profile's directory.

desired state  slot        at boot
running        none        registered, started
running        down        started
running        up          left alone
stopped        none        registered, down
stopped        down        left alone
stopped        up          stopped

``gateway_state.json`` is where the desired state stands, and the last known one where none is desired.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
import trio

from hermesd.deploy.manager import detect_service_manager
from hermesd.deploy.s6 import S6
from hermesd.deploy.s6_slot import SLOT_PREFIX, slot_log
from hermesd.errors import ConfigError, ConflictError, HermesError, StoreError
from hermesd.gateway.state import append_boot_log, read_state, write_state
from hermesd.home import DEFAULT_PROFILE, Home
from hermesd.rpc.claim import holder
from hermesd.rpc.wire import ProfileSummary
from hermesd.store.records import Backlog
from hermesd.store.sqlite.file import BESIDE_NAME
from hermesd.store.sqlite.foreign import backlog_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator
    from pathlib import Path

    from hermesd.config.settings import Settings
    from hermesd.gateway.state import DesiredState
    from hermesd.home import Profile

log = logging.getLogger("hermesd.apart")

T = TypeVar("T")
MAIN, ITS_OWN = "the main daemon", "the process of its own"
Slot = Literal["none", "down", "up"]
Action = Literal["register, start", "register", "start", "stop", "leave"]

MATRIX: dict[tuple[str, Slot], Action] = {
    ("running", "none"): "register, start",
    ("running", "down"): "start",
    ("running", "up"): "leave",
    ("stopped", "none"): "register",
    ("stopped", "down"): "leave",
    ("stopped", "up"): "stop",
}


def is_apart(settings: Settings) -> bool:
    """Whether it is to be a process of its own; a daemon's default profile is that daemon itself."""
    return settings.config.isolation == "process" and settings.profile.name != DEFAULT_PROFILE


class Apart:
    """The profiles of one home that are processes of their own, by name."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._profiles: dict[str, Profile] = {}
        self._threads = trio.CapacityLimiter(1)  # orders to s6 follow one another

    def __contains__(self, name: object) -> bool:
        return name in self._profiles

    @property
    def names(self) -> set[str]:
        """All of them."""
        return set(self._profiles)

    # -- coming and going --------------------------------------------------------------------------------------------

    async def boot(self, wanted: Iterable[Profile], others: Collection[str]) -> dict[str, HermesError]:
        """Bring the slots to what is desired, and remove those of ``others`` and of profiles that are gone.

        One whose configuration is broken keeps its slot as it is. What could not be done, by profile. Each thing done
        is a line of logs/boot.log.
        """
        wanted = list(wanted)
        broken = [profile for profile in self._home.profiles() if profile not in wanted and profile.name not in others]
        return await self._in_thread(lambda: self._boot(wanted, broken))

    async def add(self, profile: Profile) -> None:
        """One more. Raises HermesError."""
        await self._in_thread(lambda: self._settle(self._manager(profile.name), profile))
        self._profiles[profile.name] = profile

    async def remove(self, name: str) -> None:
        """Stop it and remove its slot; its files stay. Raises HermesError."""
        await self._in_thread(lambda: self._remove(self._profiles[name]))
        self._profiles.pop(name, None)

    async def move_log(self, name: str, new_name: str | None) -> None:
        """Let what its processes have printed follow a profile that is renamed, or go with one that is deleted.

        A later profile of that name must not find it. What cannot be done is told in the log.
        """
        await self._in_thread(lambda: self._move_log(name, new_name))

    def _move_log(self, name: str, new_name: str | None) -> None:
        place = slot_log(self._home.root, name)
        try:
            if new_name is None:
                shutil.rmtree(place)
            else:
                place.rename(slot_log(self._home.root, new_name))
        except FileNotFoundError:
            pass  # it was never a process of its own
        except OSError as error:
            log.warning("%s stays where it is: %s", place, error)

    def _remove(self, profile: Profile) -> None:
        self._manager(profile.name).unregister_profile_gateway(profile.name)
        with _refused(profile):
            self._clear(profile)

    async def backlog(self, settings: Settings) -> Backlog:
        """What the profile's own daemon has yet to do, whether it runs or not. Raises ConfigError, StoreError."""
        return await self._in_thread(lambda: self._backlog(settings))

    def _backlog(self, settings: Settings) -> Backlog:
        with _refused(settings.profile):
            return backlog_of(_store_of(settings))

    async def left_behind(self, settings: Settings) -> Backlog:
        """The same of a profile that is a task now, and may have been a process: nothing where that cannot be read."""
        nothing = Backlog(messages=0, answers=0)
        path = _store_of(settings)
        if settings.profile.name == DEFAULT_PROFILE or not (path.exists() or path.with_name(BESIDE_NAME).exists()):
            return nothing
        try:
            return await self.backlog(settings)
        except (StoreError, ConfigError) as error:
            log.warning("what %s has not answered as a process of its own is not known: %s", path.parent, error)
            return nothing

    def is_possible(self) -> bool:
        """Whether an s6-svscan of this user is here."""
        return self._found() is not None

    async def has_slot(self, name: str) -> bool:
        """Whether s6 looks after a process of the profile already, be it up or down."""
        manager = self._found()
        return manager is not None and name in await self._in_thread(manager.list_profile_gateways)

    def _boot(self, wanted: list[Profile], broken: list[Profile]) -> dict[str, HermesError]:
        failed: dict[str, HermesError] = {}
        manager = self._found()
        if manager is not None:
            registered = set(manager.list_profile_gateways())
            self._profiles.update({profile.name: profile for profile in broken if profile.name in registered})
            self._tidy(manager, registered - {profile.name for profile in (*wanted, *broken)})
        for profile in wanted:
            try:
                self._settle(manager or self._manager(profile.name), profile)
            except HermesError as error:
                failed[profile.name] = error
            else:
                self._profiles[profile.name] = profile
        return failed

    def _tidy(self, manager: S6, gone: set[str]) -> None:
        """Remove what a crash has left, and slots of profiles that are gone; what stays is no reason not to start."""
        try:
            for left in manager.sweep():
                self._note(f"removed what a crash left of a slot: {left}")
            for name in sorted(gone):
                manager.unregister_profile_gateway(name)
                self._note(f"{name}: its slot was removed")
        except HermesError as error:
            self._note(f"slots that are of no use stay until the next start: {error}")

    def _settle(self, manager: S6, profile: Profile) -> None:
        """One row of the matrix. Raises HermesError."""
        with _refused(profile):
            self._follow_matrix(manager, profile)

    def _follow_matrix(self, manager: S6, profile: Profile) -> None:
        found = read_state(profile)
        slot = self._slot(manager, profile.name)
        action = MATRIX[found.desired_state, slot]
        if found.problem:
            self._note(f"{profile.name}: {found.problem}")
        if slot != "up":
            self._clear(profile)
        if action.startswith("register"):
            manager.register_profile_gateway(profile.name, start=action == "register, start")
        elif action == "start":
            manager.start(SLOT_PREFIX + profile.name, wait=False)
        elif action == "stop":
            manager.stop(SLOT_PREFIX + profile.name, wait=False)
        self._note(f"{profile.name}: desired {found.desired_state}, last {found.gateway_state}, slot {slot}: {action}")

    def _slot(self, manager: S6, name: str) -> Slot:
        if name not in manager.list_profile_gateways():
            return "none"
        return "up" if manager.is_running(SLOT_PREFIX + name) else "down"

    def _clear(self, profile: Profile) -> None:
        """A pid file that nobody's lock is on was left by a dead container; its number may be anybody's now.

        So is a socket: hermesctl would knock there.
        """
        home = Home(profile.root)
        for path in (home.pid_path, home.socket_path):
            if path.exists() and not holder(home.pid_path):
                path.unlink(missing_ok=True)
                self._note(f"{profile.name}: removed {path.name} of a process that is gone")

    # -- gateways ----------------------------------------------------------------------------------------------------

    async def start(self, name: str) -> None:
        """Desired state running, then the process; ready when it returns. Raises HermesError."""
        await self._in_thread(lambda: self._act(name, "running", self._manager(name).start))

    async def stop(self, name: str) -> None:
        """The process drains and ends, and stays down. Its last word on its state is before ours."""
        await self._in_thread(lambda: self._act(name, "stopped", self._manager(name).stop))

    async def restart(self, name: str) -> None:
        """Stop and start. Raises HermesError."""
        await self._in_thread(lambda: self._act(name, "running", self._manager(name).restart))

    def _act(self, name: str, desired: DesiredState, order: Callable[[str], list[str]]) -> None:
        profile = self._profiles[name]
        with _refused(profile):
            if desired == "running":
                self._desire(profile, desired)
            order(SLOT_PREFIX + name)
            if desired == "stopped":
                self._desire(profile, desired)

    def _desire(self, profile: Profile, desired: DesiredState) -> None:
        found = read_state(profile)
        state = "stopped" if desired == "stopped" else found.gateway_state
        write_state(profile, msgspec.structs.replace(found, desired_state=desired, gateway_state=state))

    # -- looking -----------------------------------------------------------------------------------------------------

    def summary(self, name: str, *, is_current: bool) -> ProfileSummary:
        """As its own daemon has last noted it, if that lives."""
        profile = self._profiles[name]
        try:
            found = read_state(profile)
        except (OSError, ConfigError) as error:
            return ProfileSummary(
                name=name, desired="", state="stopped", path=str(profile.root), current=is_current, error=str(error)
            )
        lives = holder(Home(profile.root).pid_path) != 0
        dead = "stopped" if found.desired_state == "stopped" else "startup_failed"
        return ProfileSummary(
            name=name,
            desired=found.desired_state,
            state=found.gateway_state if lives else dead,
            platforms={platform: state.state for platform, state in found.platforms.items()},
            path=str(profile.root),
            current=is_current,
        )

    def unanswered(self, settings: Settings, left: Backlog, *, whose: str) -> ConflictError:
        """For a change of ``isolation`` while the one daemon has work that the other one would never see."""
        name = settings.profile.name
        parts = [_count(left.messages, "message", "not answered"), _count(left.answers, "answer", "not delivered")]
        left_words = f"{whose} has {' and '.join(part for part in parts if part)}"
        where = str(settings.profile.root / "config.yaml")
        if whose == ITS_OWN and not self.is_possible():
            step = f"let it answer them under s6: hermesctl -p {name} config set isolation process"
            return ConflictError(f"there is no s6 here, and {left_words}", where=where, next_step=step)
        looks = "inbox, hermesctl outbox" if left.answers else "inbox"
        step = f"let them be done or drop them (hermesctl -p {name} {looks}), then: hermesctl reload"
        return ConflictError(f"isolation is not changed yet: {left_words}", where=where, next_step=step)

    def refusal(self, name: str) -> ConflictError:
        """For what only its own daemon can do."""
        return ConflictError(
            f"the profile {name!r} is a process of its own",
            where=str(self._profiles[name].root),
            next_step=f"ask that one: hermesctl -p {name} …; start it: hermesctl gateway start -p {name}",
        )

    # -- pieces ------------------------------------------------------------------------------------------------------

    def _found(self) -> S6 | None:
        if detect_service_manager() != "s6":
            return None
        manager = S6(home=self._home.root)
        return manager if manager.supports_runtime_registration() else None

    def _manager(self, name: str) -> S6:
        manager = self._found()
        if manager is None:
            raise ConfigError(
                "isolation: process needs s6, and no s6-svscan of this user is here",
                where=str(self._home.profile_root(name) / "config.yaml"),
                next_step=f"let it be a task of this daemon: hermesctl -p {name} config unset isolation",
            )
        return manager

    def _note(self, line: str) -> None:
        log.info("%s", line)
        try:
            append_boot_log(self._home, line)
        except (OSError, ConfigError) as error:
            log.warning("logs/boot.log lacks a line (%s): %s", error, line)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._threads)


@contextlib.contextmanager
def _refused(profile: Profile) -> Iterator[None]:
    """What the system refuses of a profile's files is a refusal of this profile: the others go on."""
    try:
        yield
    except OSError as error:
        where = str(profile.root / (error.filename or ""))  # a name below an open directory, or a whole path
        what, step = (
            f"cannot be used: {error.strerror}",
            "let this user read and write it, and see that its disk is well",
        )
        raise ConfigError(what, where=where, next_step=step) from error


def _store_of(settings: Settings) -> Path:
    """Where the profile's own daemon keeps its state."""
    root = settings.profile.root
    return root / (settings.config.store.path or Home(root).state_path.name)


def _count(number: int, what: str, lacks: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'} {lacks}" if number else ""

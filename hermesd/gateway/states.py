"""gateway_state.json of the profiles that are tasks of this daemon: read, desired, and noted as it changes."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import ConfigError, StoreError
from hermesd.gateway.state import GatewayState, PlatformState, read_state, write_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermesd.gateway.profile import ProfileUnit
    from hermesd.gateway.state import DesiredState, RunState
    from hermesd.home import Profile

log = logging.getLogger(__name__)

FILE_THREADS = trio.CapacityLimiter(4)


class GatewayStates:
    """The files of all of them, each written only when it would say something else than before."""

    def __init__(self) -> None:
        self._noted: dict[str, GatewayState] = {}

    def read(self, profile: Profile) -> GatewayState:
        """What is desired, and what was. Raises ConfigError when the file cannot be read."""
        try:
            found = read_state(profile)
        except OSError as error:
            where = str(profile.gateway_state_path)
            what = f"cannot be read: {error.strerror}"
            raise ConfigError(what, where=where, next_step="make it readable for this user") from error
        if not found.problem:
            self._noted[profile.name] = msgspec.structs.replace(found, exit_reason=None, updated_at="")
        return found

    async def desire(self, unit: ProfileUnit, desired: DesiredState) -> None:
        """Let it be so from now on, after a crash too. Raises StoreError when the disk refuses."""
        profile = unit.settings.profile

        def write() -> None:
            write_state(profile, msgspec.structs.replace(read_state(profile), desired_state=desired))

        try:
            await trio.to_thread.run_sync(write, limiter=FILE_THREADS)
        except OSError as error:
            where, step = str(profile.gateway_state_path), "free some space or repair the disk, and ask again"
            raise StoreError(f"cannot be written: {error.strerror}", where=where, next_step=step) from error
        unit.desired = desired
        self.forget(unit.name)

    def note(self, unit: ProfileUnit) -> None:
        """Write it as it is now, for people and for supervisors that look at files."""
        states = unit.platform_states()
        state = GatewayState(
            desired_state=unit.desired,
            pid=os.getpid() if unit.gateway_on else 0,
            gateway_state=gateway_status(unit.gateway_on, states.values()),
            platforms={platform: PlatformState(state=word) for platform, word in states.items()},
        )
        if self._noted.get(unit.name) == state:
            return
        try:
            write_state(unit.settings.profile, state, durable=False)
        except (OSError, ConfigError) as error:  # it is for people: the next change of state tries again
            log.warning("gateway_state.json of %s is not as it should be: %s", unit.name, error)
        else:
            self._noted[unit.name] = state

    def forget(self, name: str) -> None:
        """The file may be another's now: it is written with the next note."""
        self._noted.pop(name, None)


def gateway_status(on: bool, states: Iterable[str]) -> RunState:
    """gateway_state.json's word for the platforms' states."""
    found = set(states)
    if "draining" in found:
        return "draining"
    if not on or found == {"stopped"}:
        return "stopped"
    if found & {"failed", "backoff"}:
        return "startup_failed" if found == {"failed"} else "degraded"
    return "starting" if "starting" in found else "running"

"""``skills.*``: what agents can be told how to do, for clients that may not read the files themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.rpc.routes import slow
from hermesd.rpc.wire import ProfileParams
from hermesd.rpc.wire_skills import SkillParams, SkillResult, SkillsResult

if TYPE_CHECKING:
    from hermesd.home import Profile
    from hermesd.rpc.calls import Caller

_THREADS = trio.CapacityLimiter(2)


@slow("skills.list")
async def list_skills(caller: Caller, params: ProfileParams) -> SkillsResult:
    """Every skill."""
    from hermesd.rpc import skills

    profile = _profile(caller, params.profile)
    return await trio.to_thread.run_sync(skills.listing, profile, limiter=_THREADS)


@slow("skills.show")
async def show(caller: Caller, params: SkillParams) -> SkillResult:
    """One skill."""
    from hermesd.rpc import skills

    profile = _profile(caller, params.profile)
    return await trio.to_thread.run_sync(skills.one, profile, params.name, limiter=_THREADS)


def _profile(caller: Caller, name: str) -> Profile:
    """It may have a configuration that does not load. Raises UsageError, NotFoundError."""
    return caller.daemon.home.profile(name or caller.daemon.current_profile())

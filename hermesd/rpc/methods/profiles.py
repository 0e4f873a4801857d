"""``profile.*`` and ``gateway.*``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.config.managed import refuse_managed
from hermesd.errors import UsageError
from hermesd.home import check_profile_name
from hermesd.rpc import queries
from hermesd.rpc.routes import fast, slow
from hermesd.rpc.wire import (
    Done,
    GatewayParams,
    Nothing,
    ProfileCreateParams,
    ProfileNameParams,
    ProfileRenameParams,
    ProfilesResult,
    ProfileSummary,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.rpc.calls import Caller


@fast("profile.list")
def list_profiles(caller: Caller, _params: Nothing) -> ProfilesResult:
    """Every profile."""
    return queries.profiles(caller.daemon)


@fast("profile.show")
def show(caller: Caller, params: ProfileNameParams) -> ProfileSummary:
    """One profile."""
    return queries.profile(caller.daemon, params.name)


@slow("profile.create")
async def create(caller: Caller, params: ProfileCreateParams) -> Done:
    """Make a profile."""
    check_profile_name(params.name)
    refuse_managed(caller.daemon.home, "profile", params.name, params.name, "create")
    await caller.daemon.create_profile(params.name, clone_from=params.clone_from, description=params.description)
    return Done(message=f"profile {params.name} created")


@slow("profile.use")
async def use(caller: Caller, params: ProfileNameParams) -> Done:
    """Make it the current one."""
    await caller.daemon.use_profile(queries.profile(caller.daemon, _named(params.name)).name)
    return Done(message=f"{params.name} is the current profile")


@slow("profile.delete")
async def delete(caller: Caller, params: ProfileNameParams) -> Done:
    """Remove a profile."""
    refuse_managed(caller.daemon.home, "profile", _named(params.name), params.name, "delete")
    await caller.daemon.delete_profile(queries.profile(caller.daemon, params.name).name)
    return Done(message=f"profile {params.name} deleted")


@slow("profile.rename")
async def rename(caller: Caller, params: ProfileRenameParams) -> Done:
    """Give a profile another name."""
    check_profile_name(params.new_name)
    refuse_managed(caller.daemon.home, "profile", _named(params.name), params.name, "rename")
    refuse_managed(caller.daemon.home, "profile", params.new_name, params.new_name, "make")
    old = queries.profile(caller.daemon, _named(params.name)).name
    await caller.daemon.rename_profile(old, params.new_name)
    return Done(message=f"profile {old} is {params.new_name} now")


def _named(name: str) -> str:
    if not name:
        raise UsageError("name is empty", where="name", next_step="name a profile: see profile.list")
    return name


@fast("gateway.list")
def list_gateways(caller: Caller, params: GatewayParams) -> ProfilesResult:
    """Gateways with their platforms."""
    if params.profile:
        return ProfilesResult(profiles=[queries.profile(caller.daemon, params.profile)])
    return queries.profiles(caller.daemon)


@slow("gateway.start")
async def start(caller: Caller, params: GatewayParams) -> Done:
    """Start gateways."""
    return await _each(caller, params, caller.daemon.start_gateway, "started")


@slow("gateway.stop")
async def stop(caller: Caller, params: GatewayParams) -> Done:
    """Stop gateways."""
    return await _each(caller, params, caller.daemon.stop_gateway, "stopped")


@slow("gateway.restart")
async def restart(caller: Caller, params: GatewayParams) -> Done:
    """Restart gateways."""
    return await _each(caller, params, caller.daemon.restart_gateway, "restarted")


async def _each(caller: Caller, params: GatewayParams, act: Callable[[str], Awaitable[None]], done: str) -> Done:
    """At the same time, since each may have turns to drain. The first failure is the answer, after all have ended."""
    if params.all and params.profile:
        raise UsageError("profile and all exclude each other", where="all", next_step="give one of them")
    if params.all:
        names = [summary.name for summary in caller.daemon.profile_summaries()]
    else:
        names = [queries.profile(caller.daemon, params.profile).name]
    failed: list[Exception] = []

    async def act_on(name: str) -> None:
        try:
            await act(name)
        except Exception as error:  # raised again below, when the others are through
            failed.append(error)

    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(act_on, name)
    if failed:
        raise failed[0]
    return Done(message=f"{done}: {', '.join(names)}")

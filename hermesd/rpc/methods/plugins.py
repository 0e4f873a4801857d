"""``plugins.*``: the plugins of a profile, and whether they are loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.config.writing import WRITING_THREADS
from hermesd.rpc import plugins as queries
from hermesd.rpc.routes import slow
from hermesd.rpc.wire import Done, ProfileParams
from hermesd.rpc.wire_plugins import PluginDetail, PluginParams, PluginsResult

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller


@slow("plugins.list")
async def list_plugins(caller: Caller, params: ProfileParams) -> PluginsResult:
    """Every plugin."""
    return await queries.listing(caller.daemon, params.profile)


@slow("plugins.show")
async def show(caller: Caller, params: PluginParams) -> PluginDetail:
    """One plugin."""
    return await queries.one(caller.daemon, params.profile, params.name)


@slow("plugins.enable")
async def enable(caller: Caller, params: PluginParams) -> Done:
    """Write it into config.yaml and load it, anew if it is loaded already.

    Raises its PluginError when it fails: it stays enabled then, unless that was known before any of its code was run.
    """
    from hermesd.plugins.host import check_loadable

    host = caller.daemon.plugins(params.profile)
    if params.name not in host.plugins:
        check_loadable(params.name, await host.candidates())
    if not await _switch(caller, params, on=True):
        host.reload(params.name)
    await host.settled()
    plugin = host.plugins.get(params.name)
    if plugin is not None and plugin.error is not None:
        raise plugin.error
    tools = ", ".join(tool.name for tool in plugin.tools) if plugin else ""
    return Done(message=f"{params.name} is enabled; its tools: {tools or 'none'}")


@slow("plugins.disable")
async def disable(caller: Caller, params: PluginParams) -> Done:
    """Write it into config.yaml and take its tools away."""
    host = caller.daemon.plugins(params.profile)
    await _switch(caller, params, on=False)
    await host.settled()
    return Done(message=f"{params.name} is disabled")


async def _switch(caller: Caller, params: PluginParams, *, on: bool) -> bool:
    """Whether config.yaml was changed; the new one is in force then."""
    from hermesd.plugins.switch import switch

    home, profile = caller.daemon.home, caller.daemon.settings(params.profile).profile
    changed = await trio.to_thread.run_sync(lambda: switch(home, profile, params.name, on=on), limiter=WRITING_THREADS)
    if changed:
        await caller.daemon.reload()
    return changed

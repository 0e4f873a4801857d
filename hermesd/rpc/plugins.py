"""Plugins as the wire shows them: from a profile's host to rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc.wire_plugins import PluginDetail, PluginRow, PluginsResult, PluginToolRow

if TYPE_CHECKING:
    from hermesd.plugins.discovery import Candidate
    from hermesd.plugins.host import Plugin, PluginHost
    from hermesd.rpc.context import Daemon

STATES = {"loading": "starting"}
"""As the tree calls it."""


async def listing(daemon: Daemon, profile: str) -> PluginsResult:
    """Those that are enabled in their order, then those that are only there."""
    host = daemon.plugins(profile)
    found = await host.candidates()
    names = dict.fromkeys([*host.plugins, *found])
    return PluginsResult(plugins=[_row(host, name, found.get(name)) for name in names])


async def one(daemon: Daemon, profile: str, name: str) -> PluginDetail:
    """One plugin; raises NotFoundError."""
    from hermesd.plugins.host import unknown

    host = daemon.plugins(profile)
    found = await host.candidates()
    if name not in host.plugins and name not in found:
        raise unknown(name, found)
    plugin, candidate = host.plugins.get(name), found.get(name)
    return PluginDetail(
        plugin=_row(host, name, candidate),
        description=candidate.description if candidate else "",
        place=candidate.place if candidate else "",
        requires_env=list(candidate.requires_env) if candidate else [],
        tools=_tools(plugin) if plugin else [],
        notes=list(plugin.notes) if plugin else [],
        next_step=_next_step(name, plugin, candidate),
    )


def _row(host: PluginHost, name: str, candidate: Candidate | None) -> PluginRow:
    plugin = host.plugins.get(name)
    error = plugin.error.what if plugin and plugin.error else "" if plugin or not candidate else candidate.problem
    return PluginRow(
        name=name,
        profile=host.profile_name,
        state=STATES.get(plugin.state, plugin.state) if plugin else "disabled",
        kind=candidate.kind if candidate else "",
        version=candidate.version if candidate else "",
        tools=len(plugin.tools) if plugin else 0,
        error=error,
    )


def _tools(plugin: Plugin) -> list[PluginToolRow]:
    return [
        PluginToolRow(
            name=tool.name,
            effect=tool.effect({}),
            description=tool.description,
            parameters=tool.parameters,
            timeout_s=tool.timeout_s,
        )
        for tool in plugin.tools
    ]


def _next_step(name: str, plugin: Plugin | None, candidate: Candidate | None) -> str:
    if plugin is not None:
        return plugin.error.next_step if plugin.error else ""
    return candidate.next_step if candidate and candidate.problem else f"hermesctl plugins enable {name}"

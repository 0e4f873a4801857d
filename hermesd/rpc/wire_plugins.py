"""The types of ``plugins.*``: beside ``rpc.wire``."""

from __future__ import annotations

from typing import Any

from hermesd.rpc.wire import Params, Result


class PluginParams(Params, kw_only=True):
    """One plugin of a profile."""

    name: str
    profile: str = ""


class PluginRow(Result, kw_only=True):
    """A plugin. ``state``: starting, ready, failed, or disabled (there, but not named in ``plugins.enabled``).

    ``kind``: directory, package (an entry point), or '' when it is not there.
    """

    name: str
    profile: str
    state: str
    kind: str = ""
    version: str = ""
    tools: int = 0
    error: str = ""


class PluginsResult(Result, kw_only=True):
    """Every plugin that is enabled or there, by name."""

    plugins: list[PluginRow]


class PluginToolRow(Result, kw_only=True):
    """A tool that it has registered. ``parameters`` is a JSON Schema."""

    name: str
    effect: str
    description: str
    parameters: dict[str, Any]  # Any: a JSON Schema
    timeout_s: float = 0.0


class PluginDetail(Result, kw_only=True):
    """One plugin. ``place``: its directory, or its package; ``notes``: what to know about it though it works."""

    plugin: PluginRow
    description: str = ""
    place: str = ""
    requires_env: list[str]
    tools: list[PluginToolRow]
    notes: list[str]
    next_step: str = ""

"""A turn whose event asks for other settings than its profile's: model, provider, tools, directory, bounds.

An event's ``meta`` names them as ``use_<name>``; see ``triggers.compose``. Only what the owner wrote into a job or a
route gets there.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import msgspec

from hermesd.providers.build import build_provider
from hermesd.providers.choice import chosen
from hermesd.tools.registry import ToolRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hermesd.config.schema import Config
    from hermesd.providers.base import Provider
    from hermesd.store.records import InboxRow
    from hermesd.tools.base import Tool
    from hermesd.turns.scope import Workbench

PREFIX = "use_"


class Overrides:
    """Workbenches for such turns. Providers are made once for each model and kept until ``close``."""

    def __init__(self, extra_tools: Callable[[], Sequence[Tool]]) -> None:
        self._extra_tools = extra_tools
        self._providers: dict[tuple[str, str], Provider] = {}

    def bench(self, bench: Workbench, row: InboxRow) -> Workbench:
        """The profile's workbench, or one as the event wants it. Raises ConfigError."""
        wanted = {key.removeprefix(PREFIX): value for key, value in row.meta.items() if key.startswith(PREFIX)}
        if not wanted:
            return bench
        config = changed(bench.settings.config, wanted)
        settings = dataclasses.replace(bench.settings, config=config)
        changes: dict[str, object] = {"settings": settings}
        if "toolsets" in wanted:
            changes["tools"] = ToolRegistry(config.toolsets, extra=self._extra_tools())
        if "model" in wanted or "provider" in wanted:
            key = (config.model.provider, config.model.default)
            if key not in self._providers:
                self._providers[key] = build_provider(config, settings.secrets)
            changes["provider"] = self._providers[key]
        return dataclasses.replace(bench, **changes)  # type: ignore[arg-type]  # names and types as built above

    def take(self) -> list[Provider]:
        """Give up the providers made so far: the settings they were made from are no more."""
        taken, self._providers = list(self._providers.values()), {}
        return taken


def changed(config: Config, wanted: Mapping[str, str]) -> Config:
    """The configuration with the event's settings in place."""
    replace = msgspec.structs.replace
    agent, terminal = config.agent, config.terminal
    model = chosen(config.model, provider=wanted.get("provider", ""), name=wanted.get("model", ""))
    if timeout := wanted.get("timeout_s"):
        agent = replace(agent, turn_timeout_s=float(timeout))
    if turns := wanted.get("max_turns"):
        agent = replace(agent, max_turns=int(turns))
    if budget := wanted.get("budget"):
        agent = replace(agent, token_budget=int(budget))
    if workdir := wanted.get("workdir"):
        terminal = replace(terminal, cwd=workdir)
    toolsets = wanted["toolsets"].split(",") if "toolsets" in wanted else config.toolsets
    return replace(config, model=model, agent=agent, terminal=terminal, toolsets=toolsets)

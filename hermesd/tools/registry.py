"""The tools a profile has: found by toolset name, one module a tool.

A toolset is a module or package of ``hermesd.tools``; a module that has tools lists them in ``TOOLS``. A new tool is
therefore one new file, in a package that is a toolset already or beside this one as a toolset of its own.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING

from hermesd import tools
from hermesd.errors import ConfigError
from hermesd.tools import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from hermesd.providers.base import ToolDefinition
    from hermesd.tools.base import Tool

NOT_TOOLSETS = frozenset({"base", "environment", "registry", "schema", "state"})

EVERYTHING = ("files", "terminal", "todo", "clarify", "cron")
ALIASES: dict[str, tuple[str, ...]] = {
    "all": EVERYTHING,
    "*": EVERYTHING,
    "file": ("files",),
    "hermes-cli": EVERYTHING,
    "hermes-telegram": EVERYTHING,
    "hermes-discord": EVERYTHING,
    "hermes-slack": EVERYTHING,
    "hermes-webhook": EVERYTHING,
    "hermes-api-server": EVERYTHING,
}
"""Names that a hermes-agent home uses for the same tools."""


@functools.cache
def toolset_names() -> tuple[str, ...]:
    """Every toolset there is, sorted; nothing is imported to find out, and the directory is read once."""
    found = (item.name for item in pkgutil.iter_modules(tools.__path__))
    return tuple(sorted(name for name in found if name not in NOT_TOOLSETS))


def builtin_names() -> set[str]:
    """The names of all our tools, whichever toolsets a profile has. Imports them."""
    return {tool.name for toolset in toolset_names() for tool in _load(toolset)}


class ToolRegistry:
    """The tools of one profile. Raises ConfigError for a toolset that does not exist.

    ``extra`` are tools that come from elsewhere, an MCP server for instance; a name that is taken is a ConfigError.
    Our own modules are imported when the first tool is asked for: a profile that is idle does not pay for them.
    """

    def __init__(self, toolsets: Sequence[str], *, extra: Sequence[Tool] = ()) -> None:
        self._toolsets = _resolve(toolsets)
        self._extra = tuple(extra)
        self._loaded: dict[str, Tool] | None = None
        if extra:
            self._load_all()

    def definitions(self) -> list[ToolDefinition]:
        """What the model is told, in a fixed order, so that prompt caches hold."""
        from hermesd.providers.base import ToolDefinition

        return [ToolDefinition(item.name, item.description, item.parameters) for item in self._tools.values()]

    def names(self) -> list[str]:
        """The tools' names, in the order of ``definitions``."""
        return list(self._tools)

    def get(self, name: str) -> Tool | None:
        """The tool with exactly this name."""
        return self._tools.get(name)

    def complaint(self, tool: Tool, arguments: Mapping[str, object]) -> str | None:
        """Why the tool cannot be called like this, as a sentence for the model; None when it can."""
        found = schema.complaint(tool.parameters, arguments)
        return f"{tool.name} was not called: {found}" if found else None

    def unknown(self, name: str) -> str:
        """The sentence for a model that called a tool which does not exist."""
        meant = schema.nearest(name, self._tools)
        hint = f"did you mean {meant!r}" if meant else f"the tools are {', '.join(self._tools) or 'none'}"
        return f"there is no tool {name[:80]!r}: {hint}"

    @property
    def _tools(self) -> dict[str, Tool]:
        return self._load_all() if self._loaded is None else self._loaded

    def _load_all(self) -> dict[str, Tool]:
        found: dict[str, Tool] = {}
        ours = (tool for name in self._toolsets for tool in _load(name))
        for tool in (*ours, *self._extra):
            if tool.name in found:
                raise ConfigError(f"two tools are called {tool.name!r}", next_step="exclude or rename one of them")
            found[tool.name] = tool
        self._loaded = found
        return found


def check_toolsets(toolsets: Sequence[str]) -> None:
    """Raise ConfigError if a name is not a toolset; imports no tool."""
    _resolve(toolsets)


def _resolve(toolsets: Sequence[str]) -> list[str]:
    """Names of modules, each once, in the order given."""
    known = toolset_names()
    found: dict[str, None] = {}
    for name in toolsets:
        for item in ALIASES.get(name, (name,)):
            if item not in known:
                meant = schema.nearest(name, [*known, *ALIASES])
                hint = f"did you mean {meant!r}?" if meant else f"known toolsets: {', '.join(known)}"
                raise ConfigError(f"there is no toolset {name!r}", where="toolsets", next_step=hint)
            found[item] = None
    return list(found)


@functools.cache
def _load(toolset: str) -> tuple[Tool, ...]:
    """Its tools; found once, for a registry is made anew whenever a server of the profile changes its tools."""
    return tuple(_found(toolset))


def _found(toolset: str) -> Iterator[Tool]:
    module = importlib.import_module(f"{tools.__name__}.{toolset}")
    yield from getattr(module, "TOOLS", ())
    for item in sorted(pkgutil.iter_modules(getattr(module, "__path__", ())), key=lambda found: found.name):
        part = importlib.import_module(f"{module.__name__}.{item.name}")
        yield from getattr(part, "TOOLS", ())

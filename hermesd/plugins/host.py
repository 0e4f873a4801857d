"""The plugins of one profile: those that it names are loaded, one after the other, and nothing else is run."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Literal

import trio

from hermesd.errors import ConfigError, NotFoundError, StoreError
from hermesd.home import Home
from hermesd.plugins.errors import PluginError
from hermesd.plugins.sidecar_path import extend_path

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from hermesd.config.settings import Settings
    from hermesd.plugins.discovery import Candidate
    from hermesd.plugins.tool import PluginTool
    from hermesd.store.protocol import Store

log = logging.getLogger("hermesd.plugins")

_LOOKING = trio.CapacityLimiter(1)  # directories and packages may lie on a slow disk; nobody else waits for it

State = Literal["loading", "ready", "failed"]


@dataclass(slots=True)
class Plugin:
    """One that the profile names. ``notes``: what a person should know about it though it works.

    ``hangs``: its code did not come to an end, and occupies a thread.
    """

    name: str
    state: State = "loading"
    tools: list[PluginTool] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: PluginError | None = None
    hangs: bool = False


class PluginHost:
    """The service ``plugins`` of a profile. ``on_tools`` is called after its tools have changed."""

    def __init__(self, settings: Settings, home: Path, store: Store, *, on_tools: Callable[[], None]) -> None:
        self._settings = settings
        self._home = Home(home).around.root
        self._store = store
        self._on_tools = on_tools
        self.plugins: dict[str, Plugin] = {}
        self.profile_name = settings.profile.name
        self._wake = trio.Event()
        self._settled = trio.Event()
        self._want(settings)

    # -- service -------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Load what is wanted, now and whenever that changes."""
        self._want(self._settings)  # after a restart of this service, what it had begun
        task_status.started()
        try:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                await self._bring_about()
                if not self._wake.is_set():
                    self._settled.set()
        finally:
            self._settled.set()  # without this service nothing more will come: nobody is to wait for it

    def detail(self) -> str:
        """Words for the tree."""
        failed = sum(plugin.state == "failed" for plugin in self.plugins.values())
        count = len(self.tools())
        tools = f"{count} tool{'' if count == 1 else 's'}"
        return f"{tools}, {failed} failed" if failed else tools

    def apply(self, settings: Settings, *, again: Collection[str] = ()) -> None:
        """Take new settings: what is named no more goes, what is new, has failed or stands in ``again`` is loaded.

        One that hangs is only loaded for ``again``: each attempt may cost a thread for as long as the daemon runs.
        """
        for name in again:
            self.plugins.pop(name, None)
        self._want(settings)

    def reload(self, name: str) -> None:
        """Load one anew, from the files of a directory plugin as they are now."""
        self.apply(self._settings, again=[name])

    async def settled(self) -> None:
        """Wait until everything wanted is loaded or has failed, at most for as long as that may take."""
        with trio.move_on_after(len(self.plugins) * self._settings.config.plugins.load_timeout + 1):
            await self._settled.wait()

    # -- what there is -------------------------------------------------------------------------------------------------

    def tools(self) -> list[PluginTool]:
        """For ``ToolRegistry(extra=…)``."""
        return [tool for plugin in self.plugins.values() for tool in plugin.tools]

    async def candidates(self) -> dict[str, Candidate]:
        """Every plugin that could be named, looked up now."""
        return await trio.to_thread.run_sync(self._discover, limiter=_LOOKING)

    # -- loading -------------------------------------------------------------------------------------------------------

    def _want(self, settings: Settings) -> None:
        config = settings.config.plugins
        if config.timeout != self._settings.config.plugins.timeout:
            self.plugins = {name: each for name, each in self.plugins.items() if each.hangs}  # tools hold it
        self._settings = settings
        wanted = [name for name in dict.fromkeys(config.enabled) if name not in config.disabled]
        self.plugins = {name: self.plugins.get(name) or Plugin(name) for name in wanted}
        if self._settled.is_set():  # who waits goes on waiting
            self._settled = trio.Event()
        self._wake.set()

    def _discover(self) -> dict[str, Candidate]:
        from hermesd.plugins.discovery import discover

        extend_path(self._home)
        return discover(self._settings.profile, self._home)

    async def _bring_about(self) -> None:
        missing = [plugin for plugin in self.plugins.values() if plugin.state != "ready" and not plugin.hangs]
        found = await self._found() if missing else {}
        for plugin in missing:
            if self.plugins.get(plugin.name) is plugin:  # or it is wanted no more, or anew
                await self._load(plugin, found)
        self._on_tools()

    async def _found(self) -> dict[str, Candidate] | ConfigError:
        try:
            return await self.candidates()
        except ConfigError as error:
            return error

    async def _load(self, plugin: Plugin, found: dict[str, Candidate] | ConfigError) -> None:
        plugin.state, plugin.error = "loading", None
        try:
            await self._register(plugin, found)
        except PluginError as error:
            plugin.state, plugin.error = "failed", error
            log.error("%s", error, exc_info=error.__cause__)  # noqa: TRY400 - the plugin's own traceback, if any
            data: dict[str, object] = {"error": error.what, "next_step": error.next_step}
            await self._event("plugin.failed", plugin.name, data)
        else:
            plugin.state = "ready"
            names = [tool.name for tool in plugin.tools]
            log.info("plugin %s is loaded: %s", plugin.name, ", ".join(names) or "no tools")
            await self._event("plugin.ready", plugin.name, {"tools": names})

    async def _register(self, plugin: Plugin, found: dict[str, Candidate] | ConfigError) -> None:
        from hermesd.plugins.context import PluginContext
        from hermesd.plugins.loading import load

        if isinstance(found, ConfigError):
            raise PluginError(plugin.name, f"{found.where}: {found.what}", next_step=found.next_step)
        if (candidate := found.get(plugin.name)) is None:
            where = self._settings.profile.root / "plugins" / plugin.name
            what = "is not there: neither a directory nor an installed package"
            raise PluginError(plugin.name, what, next_step=f"put it into {where}, or see `hermesctl plugins list`")
        config = self._settings.config.plugins
        others = {tool.name for each in self.plugins.values() if each is not plugin for tool in each.tools}
        context = PluginContext(
            plugin.name,
            profile=self.profile_name,
            env=self._settings.secrets,
            timeout_s=config.timeout,
            taken=await trio.to_thread.run_sync(partial(_taken, others), limiter=_LOOKING),
        )
        try:
            with trio.fail_after(config.load_timeout):
                await trio.to_thread.run_sync(
                    partial(load, candidate, context, told_as=self._settings.profile.told_name),
                    abandon_on_cancel=True,
                    limiter=trio.CapacityLimiter(1),
                )
        except trio.TooSlowError:
            what = f"did not finish loading within {config.load_timeout:g} s, and was left alone"
            plugin.hangs = True
            step = "mend it or raise plugins.load_timeout, then enable it again; what hangs ends with the daemon"
            raise PluginError(plugin.name, what, next_step=step) from None
        finally:
            tools, plugin.notes = context.close()
        plugin.tools = tools

    async def _event(self, kind: str, name: str, data: dict[str, object]) -> None:
        """Say what has happened; a disk that refuses to note it must not keep plugins from their work."""
        try:
            await self._store.record_event(kind, subject=f"plugin/{name}", profile=self.profile_name, data=data)
        except StoreError as error:
            log.warning("the event %s of %s is not recorded: %s", kind, name, error.what)


def _taken(others: set[str]) -> set[str]:
    from hermesd.tools.registry import builtin_names

    return others | builtin_names()


def check_loadable(name: str, candidates: Mapping[str, Candidate]) -> None:
    """Raise NotFoundError for a plugin that is not there, PluginError for one that is known not to load."""
    if (candidate := candidates.get(name)) is None:
        raise unknown(name, candidates)
    if candidate.problem:
        raise PluginError(name, candidate.problem, next_step=candidate.next_step)


def unknown(name: str, candidates: Collection[str]) -> NotFoundError:
    """What to raise for a plugin that is not there."""
    from hermesd.tools.schema import nearest

    meant = nearest(name, candidates)
    there = ", ".join(candidates)[:500] or "none"
    step = f"did you mean {meant!r}?" if meant else f"there are: {there}"
    return NotFoundError(f"there is no plugin {name[:80]!r}", next_step=step)

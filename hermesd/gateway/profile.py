"""One profile at work: its settings in force, its workbench, and the supervisor of its services.

``turns``, ``delivery`` and ``processes`` run for every profile, so that what was accepted is answered. The gateway
(desired state running) adds the chat platforms.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from typing import TYPE_CHECKING

import trio

from hermesd.config.reload import diff
from hermesd.errors import ConfigError, ConflictError, NotFoundError
from hermesd.gateway import platforms
from hermesd.gateway.connected import Connected
from hermesd.gateway.delivery import DeliveryWorker
from hermesd.gateway.outlets import FileOutlet
from hermesd.gateway.outlets_discord import DiscordOutlet
from hermesd.gateway.outlets_email import EmailOutlet
from hermesd.gateway.outlets_github import GithubOutlet
from hermesd.gateway.outlets_slack import SlackOutlet
from hermesd.gateway.outlets_sms import SmsOutlet
from hermesd.gateway.outlets_webhook import WebhookOutlet
from hermesd.gateway.overrides import Overrides
from hermesd.gateway.presenter import Presenter
from hermesd.gateway.router import Router
from hermesd.gateway.tool_state import StoredToolState
from hermesd.mcp.hub import PREFIX, SIGN_INS, McpHub
from hermesd.providers.build import build_provider
from hermesd.supervision.policy import Policy
from hermesd.supervision.service import ServiceSpec
from hermesd.supervision.supervisor import Supervisor
from hermesd.tools.environment import child_environment
from hermesd.tools.registry import ToolRegistry
from hermesd.tools.terminal.leftovers import tag_prefix
from hermesd.tools.terminal.processes import ProcessTable
from hermesd.triggers.obstacles import SECRET
from hermesd.turns.policy import SessionApprovals
from hermesd.turns.scope import Workbench

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermesd.config.settings import Settings
    from hermesd.gateway.outlets import Outlet
    from hermesd.gateway.shared import Shared
    from hermesd.gateway.state import DesiredState
    from hermesd.plugins.host import PluginHost
    from hermesd.providers.base import Provider
    from hermesd.supervision.service import ServiceStatus
    from hermesd.tools.base import Tool

log = logging.getLogger(__name__)

TURNS_GROUP = 2
DELIVERY_GROUP = 1
"""The highest stops first: turns end, what they said is delivered, and then the platforms (group 0) may go."""

FIXED = frozenset({"processes", "turns", "delivery", "drafts", "mcp", "plugins", SIGN_INS})
MODEL_SECTIONS = frozenset({"model", "fallback_providers", "secrets"})
DRAIN_S = 300.0
"""How long a service stopped by hand may drain; a shutdown, or the profile's removal, allows less."""


class ProfileUnit:
    """The running form of one profile. ``supervisor`` is a child of the root's."""

    def __init__(self, settings: Settings, shared: Shared, *, desired: DesiredState) -> None:
        self.settings = settings
        self._shared = shared
        self.name = settings.profile.name
        self.supervisor = Supervisor(f"profile/{self.name}")
        self.connected = Connected()
        self.processes = ProcessTable(f"{tag_prefix(shared.home.root)}{self.name}:")
        self.approvals: dict[str, SessionApprovals] = {}
        self.desired = desired
        self.gateway_on = False
        self._retired: list[Provider] = []
        self.mcp = McpHub(
            settings,
            shared.store,
            tag=tag_prefix(shared.home.root),
            on_tools=self._tools_changed,
            model=lambda: (self.bench.provider, self.settings.config.model.default),
        )
        self._plugins: PluginHost | None = None
        self._overrides = Overrides(self._other_tools)
        self.bench = self._workbench(build_provider(settings.config, settings.secrets))
        self.router: Router | None = None
        self.presenter = Presenter(self.name, store=shared.store, live=shared.live, connected=self.connected)

    def _workbench(self, provider: Provider) -> Workbench:
        return Workbench(
            settings=self.settings,
            store=self._shared.store,
            live=self._shared.live,
            provider=provider,
            tools=self._registry(),
            questions=self._shared.questions,
            approvals=self.approvals,
            environment=self._child_environment(),
            tool_state=self._tool_state,
            jobs=lambda origin: self._shared.jobs(self.name, origin),
        )

    def _registry(self) -> ToolRegistry:
        return ToolRegistry(self.settings.config.toolsets, extra=self._other_tools())

    def _other_tools(self) -> list[Tool]:
        return [*self.mcp.tools(), *(self._plugins.tools() if self._plugins is not None else ())]

    def _tools_changed(self) -> None:
        """Turns that begin from now on have the new tools; those under way keep theirs."""
        self.bench = dataclasses.replace(self.bench, tools=self._registry())

    def _child_environment(self) -> dict[str, str]:
        """The allow-listed part of the daemon's environment, and what is named to be passed on: own .env first."""
        named = self.settings.config.terminal.env_passthrough
        own = {name: self.settings.secrets[name] for name in named if name in self.settings.secrets}
        return child_environment(self._shared.environment, named, own)

    def _tool_state(self, session_id: str) -> StoredToolState:
        return StoredToolState(self._shared.store, self.processes, session_id=session_id)

    # -- services --------------------------------------------------------------------------------------------------

    async def populate(self) -> None:
        """Add the services that every profile has."""
        drain = Policy(drain_s=DRAIN_S)
        await self.supervisor.add(ServiceSpec("processes", lambda: self.processes, group=DELIVERY_GROUP), wait=False)
        await self.supervisor.add(
            ServiceSpec("turns", self._new_router, policy=drain, group=TURNS_GROUP, detail=self._turns_detail),
            wait=False,
        )
        await self.supervisor.add(
            ServiceSpec("delivery", self._new_delivery, policy=drain, group=DELIVERY_GROUP), wait=False
        )

        await self._add_servers(self.mcp.enabled())
        await self._add_plugins()

    async def _add_servers(self, names: Iterable[str]) -> None:
        """Add MCP servers; none of them is waited for. The catalog's service is there as long as there is a server."""
        if self.mcp.entries:
            await self.mcp.load()
            if "mcp" not in self._services():
                await self.supervisor.add(ServiceSpec("mcp", lambda: self.mcp))
            if (spec := self.mcp.sign_in_spec()) is not None and SIGN_INS not in self._services():
                await self.supervisor.add(spec)
        for name in names:
            await self.supervisor.add(self.mcp.spec(name), wait=False)

    async def _apply_servers(self) -> ConflictError | None:
        """Only servers whose own settings changed are stopped or started; what is to be said of one that does not stop.

        That is no exception here: the rest of a change of settings has to follow it into force.
        """
        remove, add = self.mcp.apply(self.settings)
        here = self._services()
        refused: dict[str, ConflictError] = {}

        async def remove_one(name: str) -> None:
            try:
                await self.supervisor.remove(f"{PREFIX}{name}")
            except ConflictError as error:
                refused[name] = error

        async with trio.open_nursery() as nursery:
            for name in remove:
                if f"{PREFIX}{name}" in here:
                    nursery.start_soon(remove_one, name)
        await self._add_servers([name for name in add if name not in refused])
        return next(iter(refused.values()), None)

    @property
    def plugins(self) -> PluginHost:
        """Its plugins; made at the first look, for most profiles name none."""
        if self._plugins is None:
            from hermesd.plugins.host import PluginHost

            root, store = self._shared.home.root, self._shared.store
            self._plugins = PluginHost(self.settings, root, store, on_tools=self._tools_changed)
        return self._plugins

    async def _add_plugins(self) -> None:
        """Have them loaded, if there are any. Nobody waits for it but turns."""
        if self.settings.config.plugins.enabled and "plugins" not in self._services():
            host = self.plugins
            await self.supervisor.add(ServiceSpec("plugins", lambda: host, detail=host.detail), wait=False)

    async def _apply_plugins(self) -> None:
        if self._plugins is not None:
            self._plugins.apply(self.settings)
        await self._add_plugins()

    async def _plugins_loaded(self) -> None:
        if self._plugins is not None and "plugins" in self._services():
            await self._plugins.settled()

    def _services(self) -> dict[str, ServiceStatus]:
        """The profile's services by the name they have within it."""
        above = self.supervisor.path_of("")
        return {child.name.removeprefix(above): child for child in self.supervisor.child_statuses()}

    def _new_router(self) -> Router:
        self.router = Router(
            self.name,
            store=self._shared.store,
            bench=lambda: self.bench,
            limiter=self._shared.limiter,
            turn_ended=self.close_retired,
            overrides=self._overrides,
            ready=self._plugins_loaded,
        )
        return self.router

    def _outlets(self) -> dict[str, Outlet]:
        """Targets that need no connection; they look at the settings in force whenever they send."""
        return {
            "local": FileOutlet(self.settings.profile.root / "outbox"),
            "email": EmailOutlet(lambda: self.settings.config.platforms.smtp),
            "slack": SlackOutlet(lambda: self.settings.config.platforms.slack),
            "discord": DiscordOutlet(lambda: self.settings.config.platforms.discord),
            "sms": SmsOutlet(lambda: self.settings.config.platforms.sms),
            "github_comment": GithubOutlet(lambda: self.settings.config.platforms.github),
            "webhook": WebhookOutlet(
                secret=lambda: self.settings.secrets.get(SECRET, ""),
                private=lambda: self.settings.config.platforms.webhook.deliver_private,
            ),
        }

    def _new_delivery(self) -> DeliveryWorker:
        return DeliveryWorker(
            self.name,
            store=self._shared.store,
            connected=self.connected,
            finish_drafts=self.presenter.finish,
            outlets=self._outlets(),
        )

    def _turns_detail(self) -> str:
        count = self.turns_running
        return f"{count} running" if count else ""

    @property
    def turns_running(self) -> int:
        """Turns under way in this profile."""
        return self.router.running if self.router else 0

    # -- gateway -----------------------------------------------------------------------------------------------------

    async def start_gateway(self) -> None:
        """Add the platforms that are switched on; one that is here already is left alone, a failed one is started.

        They start side by side, and nobody waits for one whose endpoint is away: the tree shows how it fares.
        """
        self.gateway_on = True
        await self._open_webhooks()
        here = self.supervisor.child_states()
        if "drafts" not in here:
            await self.supervisor.add(ServiceSpec("drafts", lambda: self.presenter, group=TURNS_GROUP), wait=False)
        for name in platforms.enabled(self.settings):
            if name not in here:
                await self.supervisor.add(platforms.spec(name, self._wiring()), wait=False)
            elif here[name] in ("failed", "stopped", "backoff"):
                await self.supervisor.start(self.supervisor.path_of(name), wait=False)

    async def quiesce(self) -> None:
        """Before a shutdown: platforms take nothing new, but can still send."""
        for name in self.platform_names():
            service = self.supervisor.service(self.supervisor.path_of(name))
            if (drain := getattr(service, "drain", None)) is not None:
                await drain()

    async def stop_gateway(self) -> None:
        """Drain and remove the platforms."""
        self.gateway_on = False
        for name in self.platform_names():
            await self.supervisor.remove(name)
        with contextlib.suppress(NotFoundError):
            await self.supervisor.remove("drafts")

    def platform_names(self) -> list[str]:
        """Platforms that are in the tree now."""
        return [name for name in self.platform_states() if name]

    def platform_states(self) -> dict[str, str]:
        """Platform name → state, for those in the tree."""
        found = self.supervisor.child_states()
        return {name: state for name, state in found.items() if name not in FIXED and not name.startswith(PREFIX)}

    def http_addresses(self) -> set[tuple[str, int]]:
        """Where this profile's webhooks listen, if they run."""
        config = self.settings.config.platforms.webhook
        return {(config.host, config.port)} if "webhook" in self.platform_states() else set()

    async def _open_webhooks(self) -> None:
        """Have the routes answered before the daemon, or ``gateway start``, says that all is well."""
        if "webhook" in platforms.enabled(self.settings):
            with contextlib.suppress(ConfigError):  # the service ``webhook`` raises it again, and shows it
                await platforms.reconfigure("webhook", self._wiring())

    def _wiring(self) -> platforms.Wiring:
        return platforms.Wiring(lambda: self.settings, self._shared.store, self.connected, self._shared.http)

    # -- settings ------------------------------------------------------------------------------------------------------

    async def apply(self, settings: Settings) -> list[str]:
        """Put new settings in force; returns what was touched. Only what the change touches is restarted.

        Raises ConflictError for an MCP server that does not stop; everything else is in force then.
        """
        touched = diff(self.settings, settings)
        if not touched:
            return []
        provider = self.bench.provider
        if touched & MODEL_SECTIONS:
            provider = build_provider(settings.config, settings.secrets)
        self.settings, before = settings, self.bench
        refusal = await self._apply_servers() if touched & {"mcp_servers", "secrets"} else None
        if touched & {"plugins", "secrets"}:
            await self._apply_plugins()
        self.bench = self._workbench(provider)
        if provider is not before.provider:
            for former in (before.provider, *self._overrides.take()):
                await self._retire(former)
        if self.gateway_on:
            await self._apply_platforms(touched)
        if refusal is not None:
            raise refusal
        return sorted(touched)

    async def _apply_platforms(self, touched: set[str]) -> None:
        wanted = set(platforms.enabled(self.settings))
        changed = {item.partition(".")[2] for item in touched if item.startswith("platforms.")}
        for name in self.platform_names():
            if name not in wanted or (name in changed and not await platforms.reconfigure(name, self._wiring())):
                await self.supervisor.remove(name)
        await self.start_gateway()

    async def _retire(self, provider: Provider) -> None:
        """Turns under way go on with the provider they began with; its connections are closed when none is left."""
        self._retired.append(provider)
        if self.router:
            self.router.retry_now()
        await self.close_retired()

    async def close_retired(self) -> None:
        """Close former providers that no turn and no MCP server uses any more."""
        for provider in list(self._retired):
            if not (self.router and self.router.uses(provider)) and not self.mcp.uses(provider):
                self._retired.remove(provider)
                await provider.aclose()

    async def close(self) -> None:
        """After the supervisor has ended: close what is left."""
        self._retired += [self.bench.provider, *self._overrides.take()]
        while self._retired:
            await self._retired.pop().aclose()

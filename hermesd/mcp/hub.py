"""The MCP servers of one profile: their services, what they offer, and the tools that come of it.

Servers report changes on their own tasks; ``run`` takes them up one after the other: choose, compare with the pins,
clean, name, tell. So a burst of changes is one new catalog and one event.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import trio

from hermesd.errors import ConflictError, NotFoundError, StoreError
from hermesd.mcp import catalog
from hermesd.mcp.catalog import Prepared
from hermesd.mcp.errors import McpError
from hermesd.mcp.lists import ListCache, Listing
from hermesd.mcp.pins import Pins, mark
from hermesd.mcp.tool import McpTool
from hermesd.mcp.typed import mcp_command
from hermesd.supervision.policy import Policy
from hermesd.supervision.service import ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx2

    from hermesd.config.schema import McpServerConfig
    from hermesd.config.settings import Settings
    from hermesd.mcp.catalog import Definition, Offer
    from hermesd.mcp.oauth.manager import Notice, OAuthManager
    from hermesd.mcp.oauth.remote import RemoteSignIns
    from hermesd.mcp.sampling import Sampler
    from hermesd.mcp.server import McpServer
    from hermesd.mcp.tool import Reachable
    from hermesd.providers.base import Provider
    from hermesd.store.protocol import Store

log = logging.getLogger("hermesd.mcp")

PREFIX = "mcp/"
"""Of the services' names within the profile's supervisor."""

SIGN_INS = "mcp-oauth"
"""Name of the service that renews tokens, within the profile's supervisor."""

CHECK_S = 5.0
"""So long a call waits for its server's tools to be compared with what was approved: longer, and the disk refuses."""

RETRY_S, RETRY_CAP_S = 1.0, 4.0
"""When the store has refused, it is tried again after these seconds, doubling."""

IN_PLACE = ("tools", "trusted", "timeout", "connect_timeout")
"""Settings of a server that need no new connection."""

POLICY = Policy(stop_s=8.0)
"""The farewell, a grace for its program and another after SIGTERM (process.END_S) may take five seconds."""

THREADS = trio.CapacityLimiter(1)
"""For long lists of tools, one at a time: the loop does not wait for them."""


def _set_event() -> trio.Event:
    event = trio.Event()
    event.set()
    return event


@dataclass(slots=True)
class Entry:
    """One configured server. ``server`` is the one that runs now; ``checked`` is set while nothing new is unjudged."""

    name: str
    config: McpServerConfig
    server: McpServer | None = None
    listing: Listing = field(default_factory=Listing)
    quarantined: Mapping[str, str] = field(default_factory=dict)  # name → fingerprint of what it is now
    prepared: Prepared = field(default_factory=lambda: Prepared(()))
    state: str = ""
    sampler: Sampler | None = None
    checked: trio.Event = field(default_factory=_set_event)
    asked: Literal["", "sign-in", "rights"] = ""
    """What of a person has been told of, so that it is told once."""
    wants_rights: bool = False


class McpHub:
    """The servers by name. ``on_tools`` is called after the tools have changed; ``tag`` as for McpServer.

    ``model`` gives the provider and the name of its model that answer servers which may ask.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        *,
        tag: str,
        on_tools: Callable[[], None],
        model: Callable[[], tuple[Provider, str]],
    ) -> None:
        self._settings = settings
        self._profile = settings.profile
        self.profile_name = settings.profile.name
        self.told_name = settings.profile.told_name
        self._store = store
        self._tag = tag
        self._on_tools = on_tools
        self._model = model
        self._pins = Pins(store, settings.profile.name)
        self._lists = ListCache(store, settings.profile.name)
        self._wake = trio.Event()
        self._changed: set[str] = set()
        self._unnamed: set[str] = set()  # whose offers are new, and not in the catalog yet
        self._offers: dict[str, Offer] = {}
        self._tools: list[McpTool] = []
        self._oauth: OAuthManager | None = None
        self._remote: RemoteSignIns | None = None
        self.entries = {name: Entry(name, config) for name, config in settings.config.mcp_servers.items()}

    # -- services ----------------------------------------------------------------------------------------------------

    def spec(self, name: str) -> ServiceSpec:
        """The service of one server."""
        return ServiceSpec(
            f"{PREFIX}{name}", lambda: self._new_server(name), policy=POLICY, detail=lambda: self._detail(name)
        )

    def enabled(self) -> list[str]:
        """Servers that are to run."""
        return [name for name, entry in self.entries.items() if entry.config.enabled]

    async def load(self) -> None:
        """Before servers are started: put lists in force that were kept of lazy ones."""
        self._profile.workspace.mkdir(mode=0o700, parents=True, exist_ok=True)  # where its programs start
        await self._lists.forget_all_but(self.entries)
        for name, entry in self.entries.items():
            if entry.server is None and (found := await self._lists.get(name, entry.config)) is not None:
                entry.listing = found
                await self._check(entry)
        self._rebuild()

    def _new_server(self, name: str) -> McpServer:
        from hermesd.mcp.server import McpServer

        entry = self.entries[name]
        server = McpServer(
            self.told_name,
            name,
            entry.config,
            auth=self._auth(entry),
            on_change=self._server_changed,
            tag=self._tag,
            cwd=self._profile.workspace,
            callbacks=lambda asking: self._callbacks(entry, asking),
        )
        server.tools, server.capabilities = list(entry.listing.tools), dict(entry.listing.capabilities)
        server.faults = list(entry.listing.faults)
        entry.server = server
        return server

    def _callbacks(self, entry: Entry, server: McpServer) -> dict[str, Any]:
        """What the server may ask of us; made for each session, because it needs the SDK."""
        from hermesd.mcp.callbacks import session_callbacks
        from hermesd.mcp.sampling import Sampler

        async def record(kind: str, data: dict[str, object]) -> None:
            await self._event(kind, entry.name, data)

        if entry.sampler is None:
            entry.sampler = Sampler(entry.name, entry.config.sampling, self._model, record)
        return session_callbacks(entry.name, entry.config, server.under_way, entry.sampler, record)

    def uses(self, provider: Provider) -> bool:
        """Whether a server's request is on its way to this provider."""
        return any(entry.sampler is not None and entry.sampler.uses(provider) for entry in self.entries.values())

    def _auth(self, entry: Entry) -> httpx2.Auth | None:
        config = entry.config
        if not _signs_in(config):
            return None
        return self.oauth().get_or_build_provider(entry.name, config.url, config)

    def oauth(self) -> OAuthManager:
        """The sign-ins of this profile, made when first needed."""
        if self._oauth is None:
            from hermesd.mcp.oauth.manager import OAuthManager

            self._oauth = OAuthManager(
                self._profile.root / "mcp-tokens", profile=self.told_name, on_notice=self._sign_in_changed
            )
        self._oauth.configured = self.entries.keys()
        return self._oauth

    def remote_sign_ins(self) -> RemoteSignIns:
        """Sign-ins by clients that have no access to the files."""
        if self._remote is None:
            from hermesd.mcp.oauth.remote import RemoteSignIns

            self._remote = RemoteSignIns(self.oauth())
        return self._remote

    def sign_in_spec(self) -> ServiceSpec | None:
        """The service that renews tokens and notices new ones; None as long as no server is signed in to."""
        wanted = any(_signs_in(entry.config) for entry in self.entries.values())
        return ServiceSpec(SIGN_INS, self.oauth) if wanted else None

    def _sign_in_changed(self, name: str, notice: Notice) -> None:
        entry = self.entries.get(name)
        if entry is None or entry.server is None:
            return
        if notice == "tokens":
            entry.asked = ""
            self.look_at_tokens(name)
        elif notice == "rights":  # its other tools go on
            entry.wants_rights = True
            self._note(entry, tools=False)
        elif entry.server.state == "ready":
            entry.server.reconnect_when_quiet()

    def look_at_tokens(self, name: str) -> None:
        """Connect again to a server that is away and has tokens, or is there and has none any more.

        An unknown name, and a server without a sign-in, are left alone.
        """
        entry = self.entries.get(name)
        if entry is None or entry.server is None or not _signs_in(entry.config):
            return
        wrong = ("auth", "backoff") if self.oauth().has_tokens(name) else ("ready",)
        if entry.server.state in wrong:
            entry.server.reconnect()

    def _detail(self, name: str) -> str:
        entry = self.entries.get(name)
        if entry is None or entry.server is None:
            return ""
        server = entry.server
        words = [server.state, f"{len(entry.prepared.offers)} tools" if entry.prepared.offers else ""]
        words += [server.era, f"{server.restarts} restarts" if server.restarts else ""]
        words += [server.last_error if server.state != "ready" else ""]
        return ", ".join(word for word in words if word)

    def apply(self, settings: Settings) -> tuple[list[str], list[str]]:
        """Take new settings; returns the services' servers to remove and those to add afterwards."""
        before = self.entries
        self._settings = settings
        wanted = settings.config.mcp_servers
        kept = {name: before[name] for name, config in wanted.items() if name in before and _same(before[name], config)}
        remove = [name for name, entry in before.items() if name not in kept and entry.config.enabled]
        self.entries = {name: kept.get(name) or Entry(name, config) for name, config in wanted.items()}
        for name in before.keys() - wanted.keys() if self._oauth is not None else ():
            self.oauth().evict(name)
        for name, entry in kept.items():
            if entry.config != wanted[name]:
                entry.config = wanted[name]
                if entry.server is not None:
                    entry.server.config = wanted[name]
                self._note(entry)
        self._rebuild()
        return remove, [name for name in self.enabled() if name not in kept]

    # -- changes -------------------------------------------------------------------------------------------------------

    def _server_changed(self, server: McpServer, change: str) -> None:
        entry = self.entries.get(server.name)
        if entry is None or entry.server is not server:
            return
        found = Listing(list(server.tools), list(server.faults), dict(server.capabilities))
        is_new = found != entry.listing and (change == "tools" or server.state == "ready")
        if is_new:
            entry.listing = found
        self._note(entry, tools=is_new)

    def _note(self, entry: Entry, *, tools: bool = True) -> None:
        if tools:
            entry.checked = trio.Event()
        self._changed.add(entry.name)
        self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the catalog."""
        await self._pins.load()
        self._changed |= self.entries.keys()  # what changed before, or when an earlier run broke off
        self._wake.set()
        task_status.started()
        wait_s = RETRY_S
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            names, self._changed = self._changed, set()
            try:
                await self._take([self.entries[name] for name in sorted(names & self.entries.keys())])
                wait_s = RETRY_S
            except StoreError as error:
                log.warning("the store refused what is new of MCP servers, trying again in %g s: %s", wait_s, error)
                self._changed |= names
                self._wake.set()
                await trio.sleep(wait_s)
                wait_s = min(2 * wait_s, RETRY_CAP_S)

    async def _take(self, entries: list[Entry]) -> None:
        """One new catalog for all that changed together: its names depend on each other."""
        looked_at: list[tuple[Entry, trio.Event]] = []
        for entry in entries:
            await self._note_state(entry)
            checked, before = entry.checked, entry.prepared
            if checked.is_set():
                continue
            await self._check(entry)
            if entry.prepared != before:
                self._unnamed.add(entry.name)
            if entry.server is not None and entry.server.state != "idle":
                await self._lists.keep(entry.name, entry.config, entry.listing)
            looked_at.append((entry, checked))
        changed = [self.entries[name] for name in sorted(self._unnamed & self.entries.keys())]
        self._unnamed.clear()
        if changed:
            self._rebuild()
        for entry in changed:
            data = {"tools": len(entry.prepared.offers), "flags": list(entry.prepared.flags)}
            await self._event("mcp.tools", entry.name, data)
        for _, checked in looked_at:
            checked.set()

    async def _check(self, entry: Entry) -> None:
        definitions = self._definitions(entry)
        quarantined = await self._pins.check(entry.name, definitions)
        if new := self._pins.untold(entry.name, quarantined):
            log.warning(
                "%s%s: changed since they were approved, held back: %s", PREFIX, entry.name, ", ".join(new)[:500]
            )
            await self._event("mcp.quarantined", entry.name, {"tools": new[: catalog.MAX_TOOLS]})
        await self._pins.tell(entry.name, quarantined, {str(each.get("name")) for each in definitions})
        entry.quarantined = quarantined
        capabilities = entry.listing.capabilities
        prepare = partial(
            catalog.prepare,
            entry.name,
            entry.config,
            definitions,
            quarantined=quarantined,
            resources="resources" in capabilities,
            prompts="prompts" in capabilities,
            faults=entry.listing.faults,
        )
        entry.prepared = await trio.to_thread.run_sync(prepare, limiter=THREADS)

    def _definitions(self, entry: Entry) -> list[Definition]:
        return catalog.chosen(entry.listing.tools, entry.config.tools)

    async def _note_state(self, entry: Entry) -> None:
        state = entry.server.state if entry.server else ""
        if state != entry.state:
            entry.state = state
            if state == "failed" and entry.server is not None:
                await self._event("mcp.failed", entry.name, {"error": entry.server.last_error})
        if state == "ready" and entry.asked == "sign-in":
            entry.asked = ""
        if state == "auth":
            await self._ask_for(entry, "sign-in")
        elif entry.wants_rights:
            await self._ask_for(entry, "rights")
        entry.wants_rights = False

    async def _ask_for(self, entry: Entry, what: Literal["sign-in", "rights"]) -> None:
        """Tell, once, that a person is needed; no browser is opened by a daemon."""
        if entry.asked == what:
            return
        entry.asked = what
        failure = self._oauth.failure(entry.name) if self._oauth is not None else None
        why = failure.what if failure is not None else entry.server.last_error if entry.server is not None else ""
        step = self.login_command(entry.name)
        log.warning("%s%s: %s: run `%s`", PREFIX, entry.name, why[:500], step)
        await self._event("mcp.needs_reauth", entry.name, {"why": why[:500], "next_step": step})

    async def _event(self, kind: str, name: str, data: dict[str, object]) -> None:
        await self._store.record_event(kind, subject=f"{PREFIX}{name}", profile=self._profile.name, data=data)

    def _rebuild(self) -> None:
        self._offers = catalog.name(entry.prepared for entry in self.entries.values() if entry.config.enabled)
        self._tools = [McpTool(name, offer, self) for name, offer in self._offers.items() if not offer.quarantined]
        self._on_tools()

    # -- what turns and clients ask ----------------------------------------------------------------------------------

    def tools(self) -> list[McpTool]:
        """For ``ToolRegistry(extra=…)``; what is quarantined is not among them."""
        return self._tools

    def offers(self, server: str = "") -> dict[str, Offer]:
        """Registered name → offer, the quarantined ones too; of one server or of all."""
        return {name: offer for name, offer in self._offers.items() if server in ("", offer.server)}

    def left_out(self, name: str) -> list[str]:
        """Tools that the configuration keeps from the model, by the server's own names; the first of very many."""
        entry = self.entry(name)
        kept = {each.get("name") for each in self._definitions(entry)}
        names = (str(each.get("name", "")) for each in entry.listing.tools if each.get("name") not in kept)
        return list(islice(names, catalog.MAX_TOOLS))

    def last_error(self, name: str) -> str:
        """What went wrong with a server last; '' while all is well."""
        server = self.entry(name).server
        return server.last_error if server else ""

    def entry(self, name: str) -> Entry:
        """A configured server; raises NotFoundError."""
        if name not in self.entries:
            known = ", ".join(self.entries) or "none"
            raise NotFoundError(f"there is no MCP server {name[:80]!r}", next_step=f"configured: {known}")
        return self.entries[name]

    def held(self, name: str) -> str:
        """A mark of what is held back of a server now; '' when nothing is."""
        return mark(self.entry(name).quarantined)

    async def approve(self, name: str, tools: list[str], *, expect: str = "") -> list[str]:
        """Approve quarantined tools of a server, by its own names (none: all); returns what was approved.

        ``expect``: the mark of what the owner has seen. Raises ConflictError when it is something else by now.
        """
        entry = self.entry(name)
        if expect and expect != self.held(name):
            what = "its tools have changed again since you looked, or are not held back any more"
            raise ConflictError(what, where=f"mcp/{name}", next_step=f"look again: `{self.command('show', name)}`")
        unknown = set(tools) - entry.quarantined.keys()
        if unknown:
            what = f"not in quarantine: {', '.join(sorted(unknown))[:200]}"
            raise NotFoundError(what, where=f"mcp/{name}", next_step=f"see `{self.command('show', name)}`")
        approved = sorted(set(tools) or entry.quarantined)
        await self._pins.approve(name, {tool: entry.quarantined[tool] for tool in approved})
        await self._check(entry)
        self._rebuild()
        if approved:
            await self._event("mcp.approved", name, {"tools": approved})
        return approved

    # -- tool.Access -------------------------------------------------------------------------------------------------

    def reach(self, server: str) -> tuple[Reachable, McpServerConfig]:
        """The running server; McpError(kind="down") when there is none."""
        entry = self.entries.get(server)
        if entry is None or entry.server is None or not entry.config.enabled:
            what = "it is disabled" if entry is not None else "it is not configured any more"
            step = self.command("enable", server) if entry is not None else self.command("list")
            raise McpError(what, kind="down", where=f"mcp/{server}", next_step=step)
        return entry.server, entry.config

    async def checked(self, server: str) -> None:
        """Wait until the server's offers have been compared with the pins; McpError (down) where that takes long."""
        entry = self.entries.get(server)
        with trio.move_on_after(CHECK_S) as scope:
            while entry is not None and not entry.checked.is_set():
                await entry.checked.wait()
        if scope.cancelled_caught:
            what = f"its tools could not be compared with what was approved for {CHECK_S:g} s"
            raise McpError(
                what, kind="down", where=f"mcp/{server}", next_step="look for the reason: `hermesctl doctor`"
            )

    def is_current(self, offer: Offer) -> bool:
        """Whether this very definition is in force."""
        entry = self.entries.get(offer.server)
        return entry is not None and not offer.quarantined and offer in entry.prepared.offers

    def command(self, *words: str) -> str:
        """What a person types about a server of this profile."""
        return mcp_command(self.told_name, *words)

    def login_command(self, server: str) -> str:
        """What a person types to sign in."""
        return self.command("login", server)


def _signs_in(config: McpServerConfig) -> bool:
    return config.auth == "oauth" and bool(config.url)


def _same(entry: Entry, config: McpServerConfig) -> bool:
    """Whether the connection may stay as it is."""
    new = {name: getattr(config, name) for name in IN_PLACE}
    return msgspec.structs.replace(entry.config, **new) == config

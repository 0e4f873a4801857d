"""The app: builds the tree, and is what RPC methods may ask of the daemon. The only file that knows every service."""

from __future__ import annotations

import json
import logging
import math
import os
import time
from typing import TYPE_CHECKING

import trio

from hermesd.activation.declared import DeclaredRoutines
from hermesd.config.reload import ConfigWatcher
from hermesd.errors import StoreError
from hermesd.fleet import Fleet
from hermesd.gateway.http_front import HttpFront
from hermesd.gateway.profile import FIXED
from hermesd.gateway.shared import Shared
from hermesd.health import Health
from hermesd.home import DEFAULT_PROFILE
from hermesd.routines import Routines
from hermesd.rpc.inprocess import InProcess
from hermesd.rpc.server import RpcServer
from hermesd.serving.backend import METHODS as SERVED_METHODS
from hermesd.serving.front import McpFront
from hermesd.supervision.service import ServiceSpec, ServiceStatus
from hermesd.supervision.supervisor import Supervisor
from hermesd.tools.terminal.leftovers import reap_leftovers, tag_prefix
from hermesd.turns.live import Live
from hermesd.turns.questions import Questions
from hermesd.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.config.schema import RpcConfig
    from hermesd.config.settings import Settings
    from hermesd.home import Home
    from hermesd.mcp.hub import McpHub
    from hermesd.plugins.host import PluginHost
    from hermesd.rpc.calls import AuditRecord
    from hermesd.rpc.handover import Handover
    from hermesd.rpc.listen import Listener
    from hermesd.rpc.wire import DoctorCheck, ProfileSummary, ReloadResult
    from hermesd.store.sqlite import SqliteStore
    from hermesd.supervision.stall import StallWatchdog

log = logging.getLogger("hermesd.app")

WATCH_GROUP = 3
RPC_GROUP = 1
STORE_GROUP = 0
"""The highest stops first: reload and HTTP (3), the profiles (2), RPC (1), and the store last."""

LOG_LEVELS = {"ready": logging.INFO, "stopped": logging.INFO, "backoff": logging.WARNING, "failed": logging.ERROR}
REAP_GRACE_S = 1.0  # a start waits for it, and what a killed daemon left is to be gone 2 s after that has begun
PRUNE_EVERY_S = 24 * 3600.0


class StoredBudgets:
    """Restart budgets in the store, so that a crash loop of the daemon does not refill them."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def load(self, key: str) -> list[float]:
        """The times last saved."""
        value = await self._store.get_value(f"budget:{key}")
        return [float(item) for item in json.loads(value)] if value else []

    async def save(self, key: str, times: list[float]) -> None:
        """Replace them."""
        await self._store.set_value(f"budget:{key}", json.dumps(times).encode() if times else None)


class App:
    """One running daemon (``rpc.context.Daemon``)."""

    def __init__(
        self,
        home: Home,
        store: SqliteStore,
        listener: Listener,
        *,
        watchdog: StallWatchdog,
        audit: Callable[[AuditRecord], None],
        loaded: Callable[[Settings], None],
        handover: Handover | None = None,
    ) -> None:
        self.home = home
        self.store = store
        self.live = Live()
        self.started_at = time.time()
        self._listener = listener
        self._audit = audit
        self._root = Supervisor("hermesd", budgets=StoredBudgets(store), on_change=self._on_change)
        self._questions = Questions(store)
        self._limiter = trio.CapacityLimiter(math.inf)
        self.webhooks = HttpFront(self._root, store)
        self._watchdog = watchdog
        self._is_up = trio.Event()
        self._stop = trio.Event()
        self._stop_now = trio.Event()
        shared = Shared(
            home=home,
            store=store,
            live=self.live,
            questions=self._questions,
            limiter=self._limiter,
            http=self.webhooks,
            environment=os.environ.copy(),
            jobs=lambda profile, origin: self.routines.for_agent(profile, origin),  # noqa: PLW0108 - it comes later
        )
        self._loaded = loaded
        self._fleet = Fleet(shared, self._root, loaded=self._on_settings)
        self.routines = Routines(shared, self._root, self._fleet)
        self.watching = Watching(store, self._root, self.routines)
        self._declared = DeclaredRoutines(self)
        self._health = Health(home, store, self.tree, self._fleet, watchdog)
        self._watcher = ConfigWatcher(self._on_files)
        self._watched: set[str] = set()
        self._handover = handover
        self._rpc = RpcServer(self, listener, rpc_settings=self._rpc_settings, audit=audit, handover=handover)
        self._serving = McpFront(self._root, self._for_agents)

    # -- life ------------------------------------------------------------------------------------------------------

    async def run(self, *, ready: Callable[[], None]) -> None:
        """Come up, say ready, serve until asked to stop, go down in order. Raises ConfigError when it cannot start."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._root.run)
            try:
                with trio.CancelScope() as coming_up:
                    nursery.start_soon(self._cut_short, coming_up)
                    await self._come_up()
                    self._is_up.set()
                    await self._declared.apply()
                    ready()
                    log.info("ready, profiles: %d, pid %d", len(self._fleet.units), os.getpid())
                    nursery.start_soon(self._keep_house)
                await self._stop.wait()
            finally:
                with trio.CancelScope(shield=True):
                    await self._go_down()
                nursery.cancel_scope.cancel()

    async def _cut_short(self, coming_up: trio.CancelScope) -> None:
        """A stop need not wait until everything has started."""
        await self._stop.wait()
        coming_up.cancel(reason="asked to stop")

    async def _come_up(self) -> None:
        await reap_leftovers(tag_prefix(self.home.root), grace_s=REAP_GRACE_S)
        await self._root.add(ServiceSpec("store", lambda: self.store, group=STORE_GROUP))
        await self._fleet.boot()
        await self._fleet.answering()
        await self.routines.boot()
        await self.watching.boot()
        self._watch_profiles()
        await self._serving.apply(self._fleet.unit(DEFAULT_PROFILE).settings.config.mcp_serve)
        await self._root.add(ServiceSpec("reload", lambda: self._watcher, group=WATCH_GROUP), wait=False)
        await self._root.add(ServiceSpec("rpc", lambda: self._rpc, group=RPC_GROUP, detail=self._rpc.detail))

    async def _go_down(self) -> None:
        unit = self._fleet.units.get(DEFAULT_PROFILE)
        config = unit.settings.config.shutdown if unit else None
        log.info("stopping")
        if self._handover is not None:
            self._handover.is_open = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hasten)
            if not self._stop_now.is_set():
                await self._fleet.quiesce()
            stuck = await self._root.shutdown(config.drain_s if config else 0.0)
            nursery.cancel_scope.cancel()
        if stuck:  # the tree cannot end, so the process must: everything durable is in the store already
            log.error("these ignored their cancellation: %s", ", ".join(stuck))
            self.store.close()
            os._exit(1)
        with trio.move_on_after(config.stop_s if config else 5.0):
            await self._fleet.close()
        log.info("stopped")

    async def _hasten(self) -> None:
        """A second request to stop sets the deadline to now."""
        await self._stop_now.wait()
        await self._root.shutdown(0.0)

    async def _keep_house(self) -> None:
        """Once a day, forget what is older than the retention."""
        while True:
            days = self.settings(DEFAULT_PROFILE).config.store.retain_days
            try:
                removed = await self.store.prune(older_than=time.time() - days * 86400.0)
            except StoreError as error:  # a full disk, say: what is old can wait another day
                log.warning("nothing is pruned today: %s", error.what)
            else:
                if removed:
                    log.info("pruned %d rows older than %g days", removed, days)
            await trio.sleep(PRUNE_EVERY_S)

    @property
    def socket_unit(self) -> str:
        """See ``rpc.context.Daemon``."""
        return self._listener.unit

    def request_stop(self, *, now: bool) -> None:
        """Begin the ordered shutdown; asked again, or with ``now``, what still drains is cut short."""
        if now or self._stop.is_set():
            self._stop_now.set()
        self._stop.set()

    async def asked_to_stop(self) -> None:
        """Return when the ordered shutdown has begun, whoever asked for it."""
        await self._stop.wait()

    def _on_settings(self, settings: Settings) -> None:
        """A profile's settings are about to be in force; the default one's bound the turns of all."""
        if settings.profile.name == DEFAULT_PROFILE:
            self._limiter.total_tokens = settings.config.agent.max_concurrent_turns
        self._loaded(settings)

    # -- what happens ------------------------------------------------------------------------------------------------

    def _on_change(self, status: ServiceStatus) -> None:
        parts = status.name.split("/")
        is_platform = len(parts) > 2 and parts[2] not in FIXED
        level = LOG_LEVELS.get(status.state, logging.DEBUG)
        if level == logging.INFO and parts[0] == "profile" and not is_platform and not status.restarts:
            level = logging.DEBUG  # every profile has these: a line is worth it only when something happened
        log.log(level, "%s is %s%s", status.name, status.state, f": {status.last_error}" if status.last_error else "")
        if is_platform:
            self._fleet.note_state(parts[1])

    async def _on_files(self, profile: str) -> None:
        await self._reload([profile])

    async def _reload(self, names: list[str] | None) -> ReloadResult:
        await self._is_up.wait()
        result = await self._fleet.reload(names)
        self._watch_profiles()
        if any(item == "default: rpc" for item in result.applied):
            self._rpc.apply_settings()
        await self._declared.apply()
        await self._serving.apply(self._fleet.unit(DEFAULT_PROFILE).settings.config.mcp_serve)
        return result

    def _watch_profiles(self) -> None:
        """Watch exactly the profiles there are, broken ones included: mending one is a change to notice."""
        profiles = {profile.name: profile for profile in self.home.profiles()}
        for name in self._watched - profiles.keys():
            self._watcher.remove(name)
        for name in profiles.keys() - self._watched:
            self._watcher.add(profiles[name])
        self._watched = set(profiles)

    def _rpc_settings(self) -> RpcConfig:
        return self._fleet.unit(DEFAULT_PROFILE).settings.config.rpc

    def _for_agents(self) -> InProcess:
        """What other agents may ask by MCP: a few methods, as a user who may chat."""

        def audit(record: AuditRecord) -> None:
            if self._rpc_settings().audit:
                self._audit(record)

        return InProcess(self, methods=SERVED_METHODS, role="chat", audit=audit)

    # -- what clients may ask (rpc.context.Daemon) -------------------------------------------------------------------

    def tree(self) -> ServiceStatus:
        """The supervision tree now."""
        return self._root.status()

    def tally(self) -> tuple[dict[str, int], list[str]]:
        """Services by state, and what is to be said of failed ones."""
        counts: dict[str, int] = {}
        failures: list[str] = []
        self._root.tally(counts, failures)
        return counts, failures

    def turns_running(self) -> int:
        """Turns under way."""
        return self._fleet.turns_running()

    def processes(self) -> list[tuple[str, str, float]]:
        """Background processes of every profile."""
        return self._fleet.processes()

    def settings(self, profile: str = "") -> Settings:
        """A profile's configuration in force."""
        return self._fleet.unit(profile).settings

    def current_profile(self) -> str:
        """The profile that calls without one mean."""
        return self._fleet.current()

    def profile_summaries(self) -> list[ProfileSummary]:
        """Every profile with its gateway."""
        return self._fleet.summaries()

    def mcp(self, profile: str = "") -> McpHub:
        """The MCP servers of a profile."""
        return self._fleet.unit(profile).mcp

    def plugins(self, profile: str = "") -> PluginHost:
        """The plugins of a profile."""
        return self._fleet.unit(profile).plugins

    async def create_profile(self, name: str, *, clone_from: str = "", description: str = "") -> None:
        """Make a profile, stopped."""
        await self._fleet.create(name, clone_from=clone_from, description=description)
        self._watch_profiles()

    async def delete_profile(self, name: str) -> None:
        """Remove a profile and all it holds."""
        await self._fleet.delete(name)
        self._watch_profiles()

    async def rename_profile(self, name: str, new_name: str) -> None:
        """Give a profile another name."""
        await self._fleet.rename(name, new_name)
        self._watch_profiles()

    async def use_profile(self, name: str) -> None:
        """Make it the current one."""
        await self._fleet.use(name)

    async def start_gateway(self, profile: str) -> None:
        """Desired state running."""
        await self._fleet.start_gateway(profile)

    async def stop_gateway(self, profile: str) -> None:
        """Desired state stopped."""
        await self._fleet.stop_gateway(profile)

    async def restart_gateway(self, profile: str) -> None:
        """Stop and start."""
        await self._fleet.restart_gateway(profile)

    async def start_service(self, name: str) -> None:
        """Start a stopped or failed service."""
        await self._root.start(name)

    async def stop_service(self, name: str) -> None:
        """Stop a service."""
        await self._root.stop(name)

    async def restart_service(self, name: str) -> None:
        """Restart a service."""
        await self._root.restart(name)

    async def reload(self) -> ReloadResult:
        """Read configuration again, of every profile."""
        return await self._reload(None)

    async def ensure_turns(self, profile: str) -> None:
        """Every open profile answers, so there is nothing to do but refuse a profile that is not there."""
        self._fleet.unit(profile)
        await trio.lowlevel.checkpoint()

    async def interrupt(self, profile: str, session_id: str) -> bool:
        """Cancel the session's running turn."""
        await trio.lowlevel.checkpoint()
        router = self._fleet.unit(profile).router
        return router.interrupt(session_id) if router else False

    async def answer(self, question_id: int, answer: str | None) -> None:
        """Answer an open question, or close it."""
        await self._questions.answer(question_id, answer)

    def doctor_checks(self) -> list[DoctorCheck]:
        """What the daemon knows of its own health."""
        return [*self._health.checks(), *self._declared.checks()]

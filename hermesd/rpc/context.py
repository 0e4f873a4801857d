"""What RPC methods may ask of the daemon. ``app`` provides it; methods know nothing else of the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hermesd.config.settings import Settings
    from hermesd.home import Home
    from hermesd.mcp.hub import McpHub
    from hermesd.plugins.host import PluginHost
    from hermesd.rpc.wire import DoctorCheck, ProfileSummary, ReloadResult
    from hermesd.rpc.wire_watch import WatchFields, WatchTestResult
    from hermesd.store.protocol import Store
    from hermesd.store.records import JobRow, RunRow, WatchRow
    from hermesd.supervision.service import ServiceStatus
    from hermesd.triggers.desk import JobDesk
    from hermesd.triggers.turn_check import Owner
    from hermesd.triggers.watch_desk import WatchDesk
    from hermesd.triggers.webhook_counters import Counters
    from hermesd.turns.live import Live


class Routines(Protocol):
    """Scheduled jobs, as ``hermesd.routines`` keeps them."""

    @property
    def desk(self) -> JobDesk:
        """Where jobs are made and changed."""

    async def ensure(self) -> None:
        """Have the scheduler run: a job is about to be made."""

    def owner(self, profile: str) -> Owner:
        """A profile as the desk needs it; '' is the current one. Raises NotFoundError, ConfigError."""

    async def run_now(self, job: JobRow) -> RunRow:
        """A run by hand. Raises ConflictError."""


class Watching(Protocol):
    """Watches, as ``hermesd.watching`` keeps them."""

    @property
    def desk(self) -> WatchDesk:
        """Where watches are found."""

    async def add(self, profile: str, fields: WatchFields, *, paused: bool) -> WatchRow:
        """Make a watch and have it work. Raises NotFoundError, UsageError, ConfigError, ConflictError."""

    async def switch(self, watch: WatchRow, *, paused: bool) -> WatchRow:
        """Pause or resume it."""

    async def remove(self, watch: WatchRow) -> None:
        """End and remove it."""

    async def refresh(self, watch_id: str) -> None:
        """A row was made, changed or removed in the store: have it as it stands now."""

    async def test(self, watch: WatchRow) -> WatchTestResult:
        """Look, and begin nothing."""


class WebhookFront(Protocol):
    """Webhook routes in force, as ``gateway.http_front`` keeps them."""

    def counters(self, profile: str) -> dict[str, Counters] | None:
        """Counters by route; None for a profile whose webhooks have not been in force."""

    def in_force(self, profile: str) -> bool:
        """Whether the profile's routes are answered."""


class Daemon(Protocol):
    """The running daemon, as its clients may see and steer it. Names that do not exist raise NotFoundError."""

    home: Home
    live: Live
    started_at: float

    @property
    def routines(self) -> Routines:
        """Scheduled jobs."""

    @property
    def watching(self) -> Watching:
        """Watches."""

    @property
    def webhooks(self) -> WebhookFront:
        """Webhook routes."""

    @property
    def store(self) -> Store:
        """The store."""

    def tree(self) -> ServiceStatus:
        """The supervision tree now."""

    def tally(self) -> tuple[dict[str, int], list[str]]:
        """How many services are in each state, and a sentence for each that has failed."""

    def turns_running(self) -> int:
        """How many turns are under way in all profiles."""

    def processes(self) -> list[tuple[str, str, float]]:
        """Background processes that run: profile, command, since when (epoch seconds)."""

    def settings(self, profile: str = "") -> Settings:
        """A profile's configuration in force; '' is the current profile."""

    def current_profile(self) -> str:
        """The profile that calls without one mean (``profile use``)."""

    def profile_summaries(self) -> list[ProfileSummary]:
        """Every profile with its gateway, default first."""

    def mcp(self, profile: str = "") -> McpHub:
        """The MCP servers of a profile; '' is the current one. Raises NotFoundError, ConfigError (a broken profile)."""

    def plugins(self, profile: str = "") -> PluginHost:
        """The plugins of a profile; '' is the current one. Raises NotFoundError, ConfigError (a broken profile)."""

    async def create_profile(self, name: str, *, clone_from: str = "", description: str = "") -> None:
        """Make a profile, stopped. Raises UsageError, ConflictError, NotFoundError (clone_from)."""

    async def delete_profile(self, name: str) -> None:
        """Stop it and remove its directory and rows. ``default`` cannot be deleted."""

    async def rename_profile(self, name: str, new_name: str) -> None:
        """Stop it, move directory and rows, start it again if it ran."""

    async def use_profile(self, name: str) -> None:
        """Make it the current one."""

    async def start_gateway(self, profile: str) -> None:
        """Desired state running, durably; returns when its services have been started."""

    async def stop_gateway(self, profile: str) -> None:
        """Desired state stopped, durably; returns when drained and stopped."""

    async def restart_gateway(self, profile: str) -> None:
        """Stop and start; failed services get a fresh budget."""

    async def start_service(self, name: str) -> None:
        """Start a stopped or failed service by its path."""

    async def stop_service(self, name: str) -> None:
        """Stop a service by its path until it is started again."""

    async def restart_service(self, name: str) -> None:
        """Restart a service by its path."""

    async def reload(self) -> ReloadResult:
        """Read configuration again and apply what changed."""

    @property
    def socket_unit(self) -> str:
        """The unit whose socket starts the daemon again for the next client; '' when there is none."""

    def request_stop(self, *, now: bool) -> None:
        """Begin the ordered shutdown, as SIGTERM does."""

    async def ensure_turns(self, profile: str) -> None:
        """Make sure that the profile's messages are being answered even if its gateway is stopped (for chat)."""

    async def interrupt(self, profile: str, session_id: str) -> bool:
        """Cancel the session's running turn; False when none runs."""

    async def answer(self, question_id: int, answer: str | None) -> None:
        """Answer an open question and wake the turn that waits for it; None: nobody will answer."""

    def doctor_checks(self) -> list[DoctorCheck]:
        """What the running daemon knows of its own health: stalls, failed services, lag, disk."""

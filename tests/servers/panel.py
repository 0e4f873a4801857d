"""A daemon's control panel over a real store, with a tree that the test makes: what RPC and console ask of the app."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from hermesd.config.schema import Config
from hermesd.config.settings import Secrets, Settings
from hermesd.errors import ConflictError, NotFoundError
from hermesd.home import Home, Profile
from hermesd.mcp.hub import McpHub
from hermesd.rpc.wire import DoctorCheck, ProfileSummary, ReloadResult
from hermesd.store.sqlite.store import SqliteStore
from hermesd.supervision.service import ServiceState, ServiceStatus
from hermesd.turns.live import Live


def service(name: str, state: ServiceState = "ready", *children: ServiceStatus, **more: Any) -> ServiceStatus:
    """A service that has been in its state for an hour."""
    return ServiceStatus(**{"since": time.time() - 3600, **more}, name=name, state=state, children=list(children))


@dataclass
class Panel:
    """``hermesd.rpc.context.Daemon``; what changes something is noted in ``done``."""

    home: Home
    store: SqliteStore
    live: Live = field(default_factory=Live)
    started_at: float = field(default_factory=lambda: time.time() - 7200)
    root: ServiceStatus = field(default_factory=lambda: service("hermesd", "ready", service("store"), service("rpc")))
    profiles: list[ProfileSummary] = field(default_factory=list)
    checks: list[DoctorCheck] = field(default_factory=list)
    reloaded: ReloadResult = field(default_factory=lambda: ReloadResult(applied=[], refused=[]))
    running: int = 0
    done: list[tuple[Any, ...]] = field(default_factory=list)

    @classmethod
    def open(cls, root: Path) -> Panel:
        root.mkdir(mode=0o700, exist_ok=True)
        home = Home(root)
        home.create()
        default = ProfileSummary(
            name="default", desired="running", state="running", current=True, model="offline", path=str(root)
        )
        return cls(home, SqliteStore.open(home.state_path), profiles=[default])

    def tree(self) -> ServiceStatus:
        return self.root

    def tally(self) -> tuple[dict[str, int], list[str]]:
        counts: dict[str, int] = {}
        failures: list[str] = []
        pending = list(self.root.children)
        while pending:
            service = pending.pop(0)
            counts[service.state] = counts.get(service.state, 0) + 1
            if service.state == "failed":
                failures.append(f"{service.name} failed: {service.last_error}")
            pending += service.children
        return counts, failures

    def turns_running(self) -> int:
        return self.running

    def processes(self) -> list[tuple[str, str, float]]:
        return []

    def current_profile(self) -> str:
        return next(profile.name for profile in self.profiles if profile.current)

    def profile_summaries(self) -> list[ProfileSummary]:
        return self.profiles

    def doctor_checks(self) -> list[DoctorCheck]:
        return self.checks

    def add_profile(self, name: str, **more: Any) -> None:
        """A further profile, stopped unless said otherwise."""
        summary = {"desired": "stopped", "state": "stopped", "model": "offline", **more}
        self.profiles.append(ProfileSummary(name=name, **summary))

    def mcp(self, profile: str = "") -> McpHub:
        """Without a server: those have tests of their own, with real ones."""
        name = profile or self.current_profile()
        settings = Settings(Profile(name, self.home.profile_root(name)), Config(), Secrets({}))
        return McpHub(settings, self.store, tag="", on_tools=lambda: None)

    async def create_profile(self, name: str, *, clone_from: str = "", description: str = "") -> None:
        if any(profile.name == name for profile in self.profiles):
            raise ConflictError(f"there is a profile {name!r} already", next_step="choose another name")
        self.done.append(("create_profile", name, clone_from, description))
        self.add_profile(name)

    async def delete_profile(self, name: str) -> None:
        self.done.append(("delete_profile", name))
        self.profiles = [profile for profile in self.profiles if profile.name != name]

    async def rename_profile(self, name: str, new_name: str) -> None:
        self.done.append(("rename_profile", name, new_name))

    async def use_profile(self, name: str) -> None:
        self.done.append(("use_profile", name))
        self.profiles = [msgspec.structs.replace(row, current=row.name == name) for row in self.profiles]

    async def start_gateway(self, profile: str) -> None:
        self.done.append(("start_gateway", profile))

    async def stop_gateway(self, profile: str) -> None:
        self.done.append(("stop_gateway", profile))

    async def restart_gateway(self, profile: str) -> None:
        self.done.append(("restart_gateway", profile))

    async def start_service(self, name: str) -> None:
        self.done.append(("start_service", name))

    async def stop_service(self, name: str) -> None:
        raise NotFoundError(f"no service {name!r}", where="service.stop", next_step="see `hermesctl tree`")

    async def restart_service(self, name: str) -> None:
        self.done.append(("restart_service", name))

    async def reload(self) -> ReloadResult:
        return self.reloaded

    socket_unit = ""

    def request_stop(self, *, now: bool) -> None:
        self.done.append(("request_stop", now))

    async def ensure_turns(self, profile: str) -> None:
        self.done.append(("ensure_turns", profile))

    async def interrupt(self, profile: str, session_id: str) -> bool:
        self.done.append(("interrupt", profile, session_id))
        return True

    async def answer(self, question_id: int, answer: str) -> None:
        self.done.append(("answer", question_id, answer))
        await self.store.answer(question_id, answer)

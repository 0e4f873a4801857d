"""Everything one turn may touch, in one object: settings, store, tools, the person it can ask."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio

from hermesd.errors import StoreError
from hermesd.tools.base import ToolContext
from hermesd.turns.live import Update, UpdateKind
from hermesd.turns.policy import SessionApprovals

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from hermesd.config.schema import Config
    from hermesd.config.settings import Settings
    from hermesd.providers.base import Provider
    from hermesd.store.protocol import Store
    from hermesd.store.records import InboxRow, StepRow, TurnRow, TurnState
    from hermesd.tools.registry import ToolRegistry
    from hermesd.tools.state import ToolState
    from hermesd.turns.live import Live
    from hermesd.turns.questions import Questions

log = logging.getLogger(__name__)

T = TypeVar("T")

UNATTENDED_SOURCES = ("webhook", "cron", "watch")
FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 15.0


@dataclass(slots=True)
class Workbench:
    """What a profile's turns share: provider, tools, open questions, standing approvals, child environment."""

    settings: Settings
    store: Store
    live: Live
    provider: Provider
    tools: ToolRegistry
    questions: Questions
    approvals: dict[str, SessionApprovals]
    environment: Mapping[str, str]
    tool_state: Callable[[str], ToolState]

    @property
    def workspace(self) -> Path:
        """Where tools work: ``terminal.cwd`` or the profile's workspace."""
        configured = self.settings.config.terminal.cwd
        return Path(configured).expanduser() if configured else self.settings.profile.workspace


@dataclass(slots=True)
class TurnScope:
    """One turn's view of its workbench. ``uncertain`` holds the journal positions of unsafe calls under way."""

    bench: Workbench
    turn: TurnRow
    event: InboxRow
    untrusted: bool = False
    uncertain: set[int] = field(default_factory=set)
    partial: str = ""

    @property
    def config(self) -> Config:
        """The profile's configuration as it was when the turn began."""
        return self.bench.settings.config

    @property
    def tools(self) -> ToolRegistry:
        """The profile's tools."""
        return self.bench.tools

    @property
    def approvals(self) -> SessionApprovals:
        """What its user allowed for the rest of the session."""
        return self.bench.approvals.setdefault(self.session_id, SessionApprovals())

    @property
    def session_id(self) -> str:
        """The session being answered."""
        return self.turn.session_id

    @property
    def attended(self) -> bool:
        """Whether somebody can be asked."""
        return self.event.source.partition(":")[0] not in UNATTENDED_SOURCES and not self.event.untrusted

    def publish(
        self,
        kind: UpdateKind,
        *,
        text: str = "",
        name: str = "",
        is_error: bool = False,
        state: TurnState | None = None,
    ) -> None:
        """Tell those who watch."""
        self.bench.live.publish(
            Update(
                kind=kind,
                profile=self.turn.profile,
                session_id=self.turn.session_id,
                turn_id=self.turn.id,
                inbox_id=self.event.id,
                text=text,
                name=name,
                is_error=is_error,
                state=state,
            )
        )

    async def journal(self, steps: Sequence[StepRow]) -> None:
        """Commit journal rows, waiting out a full or failing disk."""
        await persist(lambda: self.bench.store.journal(steps))

    def tool_context(self, call_id: str, *, key: str) -> ToolContext:
        """The scope of one call; ``key`` names its question within the turn."""

        async def ask(question: str, options: list[str]) -> str | None:
            return await self.put_question("clarify", key, question, options)

        return ToolContext(
            profile=self.bench.settings.profile,
            workspace=self.bench.workspace,
            session_id=self.session_id,
            turn_id=self.turn.id,
            call_id=call_id,
            env=self.bench.environment,
            ask=ask,
            state=self.bench.tool_state(self.session_id),
            terminal_timeout_s=self.config.terminal.timeout,
        )

    async def put_question(self, kind: str, key: str, text: str, options: list[str]) -> str | None:
        """Ask the user on the surface the session has, durably; the same key is asked once, also after a restart."""
        from hermesd.store.records import NewOutbox

        if not self.attended:
            return None
        bench = self.bench
        question = await persist(
            lambda: bench.store.ask(
                turn_id=self.turn.id,
                session_id=self.session_id,
                profile=self.turn.profile,
                kind=kind,
                key=key,
                text=text,
                options=options,
            )
        )
        if question.state == "open" and self.event.address.platform not in ("", "rpc"):
            choices = f"\nReply with one of: {', '.join(options)}" if options else "\nReply with your answer."
            row = NewOutbox(
                profile=self.turn.profile,
                address=self.event.address,
                text=text + choices,
                idempotency_key=f"question:{question.id}",
                kind="question",
            )
            await persist(lambda: bench.store.offer([row]))
        bench.live.publish(
            Update(
                kind="question",
                profile=self.turn.profile,
                session_id=self.session_id,
                turn_id=self.turn.id,
                inbox_id=self.event.id,
                text=text,
                question=question,
            )
        )
        return await bench.questions.wait(question, timeout_s=self.config.policy.ask_timeout_s)


async def persist(write: Callable[[], Awaitable[T]]) -> T:
    """Do a durable write, trying again while the disk refuses: a turn stands still rather than lose its place."""
    delay = FIRST_RETRY_S
    while True:
        try:
            with trio.CancelScope(shield=True):  # a commit under way is short, and must not be left half-known
                return await write()
        except StoreError as error:
            log.error("the store refused, trying again in %.1f s: %s", delay, error.what)  # noqa: TRY400 - known cause
        await trio.sleep(delay)
        delay = min(delay * 2, LONGEST_RETRY_S)

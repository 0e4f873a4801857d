"""Everything one turn may touch, in one object: settings, store, tools, the person it can ask."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from hermesd.store.records import NewOutbox
from hermesd.tools.base import ToolContext
from hermesd.turns.live import Update, UpdateKind
from hermesd.turns.persist import persist
from hermesd.turns.policy import SessionApprovals
from hermesd.turns.suggestion import begins_with_question

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hermesd.config.schema import Config
    from hermesd.config.settings import Settings
    from hermesd.providers.base import Provider
    from hermesd.store.protocol import Store
    from hermesd.store.records import Address, InboxRow, QuestionRow, StepRow, TurnRow, TurnState
    from hermesd.tools.base import Jobs
    from hermesd.tools.registry import ToolRegistry
    from hermesd.tools.state import ToolState
    from hermesd.turns.live import Live
    from hermesd.turns.questions import Questions

__all__ = ["TurnScope", "Workbench", "is_attended", "persist"]

UNATTENDED_SOURCES = ("webhook", "cron", "watch")
JOB_SOURCE = "cron:"


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
    jobs: Callable[[Address | None], Jobs] | None = None

    @property
    def workspace(self) -> Path:
        """Where tools work: ``terminal.cwd`` or the profile's workspace."""
        configured = self.settings.config.terminal.cwd
        return Path(configured).expanduser() if configured else self.settings.profile.workspace


class TurnScope(msgspec.Struct):
    """One turn's view of its workbench.

    ``uncertain`` holds, by journal position, the unsafe calls that have begun and have no journalled result: they may
    have taken effect. ``partial`` is what the model has said of an answer that is not complete. ``standing_still`` is
    entered while a person is waited for.
    """

    bench: Workbench
    turn: TurnRow
    event: InboxRow
    untrusted: bool = False
    uncertain: dict[int, StepRow] = msgspec.field(default_factory=dict)
    partial: str = ""
    standing_still: Callable[[], AbstractAsyncContextManager[None]] = nullcontext

    @property
    def config(self) -> Config:
        """The profile's configuration as it was when the turn began."""
        return self.bench.settings.config

    @property
    def tools(self) -> ToolRegistry:
        """The profile's tools."""
        return self.bench.tools

    @property
    def approvals(self) -> SessionApprovals | None:
        """What its user allowed for the rest of the session, if anything."""
        return self.bench.approvals.get(self.session_id)

    def approve_always(self, name: str, arguments: Mapping[str, object]) -> None:
        """Allow exactly this call for the rest of the session (as long as the daemon lives)."""
        given = self.bench.approvals.setdefault(self.session_id, SessionApprovals())
        given.remember(name, arguments, scope="call")

    @property
    def session_id(self) -> str:
        """The session being answered."""
        return self.turn.session_id

    @property
    def attended(self) -> bool:
        """Whether somebody can be asked: who wrote the event, or who is asked before it is acted on."""
        return is_attended(self.event) or begins_with_question(self.event)

    def publish(
        self,
        kind: UpdateKind,
        *,
        text: str = "",
        name: str = "",
        is_error: bool = False,
        state: TurnState | None = None,
        question: QuestionRow | None = None,
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
                question=question,
            )
        )

    async def journal(self, steps: Sequence[StepRow]) -> None:
        """Commit journal rows, waiting out a full or failing disk."""
        await persist(lambda: self.bench.store.journal(steps))

    def tool_context(self, call_id: str, *, key: str) -> ToolContext:
        """The scope of one call; ``key`` names its questions within the turn.

        A call that is made again after a restart gets the answers to the questions it puts again. Where it asks
        something else in the same place, as a program of others may, the user is asked that too.
        """
        numbers = itertools.count()

        async def ask(question: str, options: list[str]) -> str | None:
            place = f"{key}:{next(numbers)}:"
            asked = place + hashlib.sha256(question.encode(errors="replace")).hexdigest()[:16]
            await persist(lambda: self._withdraw(place, besides=asked))
            return await self.put_question("clarify", asked, question, options)

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
            jobs=self._jobs(),
            attended=self.attended,
            withdraw=lambda: self._withdraw(f"{key}:"),
        )

    async def _withdraw(self, prefix: str, *, besides: str = "") -> None:
        """Close this turn's open questions under these keys: who asked does not wait any more."""
        for question in await self.bench.store.open_questions(session_id=self.session_id):
            if question.turn_id == self.turn.id and question.key.startswith(prefix) and question.key != besides:
                await self.bench.store.expire_question(question.id)

    def _jobs(self) -> Callable[[], Jobs] | None:
        """What the turn may do about jobs; one that a job has begun may make none, or they would never end."""
        if self.bench.jobs is None or self.event.source.startswith(JOB_SOURCE):
            return None
        place = self.event.address
        return partial(self.bench.jobs, place if place.platform not in ("", "rpc") else None)

    async def put_question(self, kind: str, key: str, text: str, options: list[str]) -> str | None:
        """Ask the user on the surface the session has, durably; the same key is asked once, also after a restart."""
        if not self.attended or not (options or is_attended(self.event)):
            return None  # in the chat of a suggestion only an answer that was offered is known from other messages
        question = await persist(
            lambda: self.bench.store.ask(
                turn_id=self.turn.id,
                session_id=self.session_id,
                profile=self.turn.profile,
                kind=kind,
                key=key,
                text=text,
                options=options,
            )
        )
        timeout_s = self.config.policy.ask_timeout_s
        async with self.standing_still():
            return await self.bench.questions.wait(
                question, announce=lambda: self._announce(question), timeout_s=timeout_s
            )

    async def _announce(self, question: QuestionRow) -> None:
        """Put the question where the user is; its key keeps it from being said twice."""
        if self.event.address.platform not in ("", "rpc"):
            options = question.options
            choices = f"Reply with one of: {', '.join(options)}" if options else "Reply with your answer."
            row = NewOutbox(
                profile=self.turn.profile,
                address=self.event.address,
                text=f"{question.text}\n{choices}",
                idempotency_key=f"question:{question.id}",
                kind="question",
            )
            await persist(lambda: self.bench.store.offer([row]))
        self.publish("question", text=question.text, question=question)


def is_attended(event: InboxRow) -> bool:
    """Whether a person wrote the event and can be asked."""
    return event.source.partition(":")[0] not in UNATTENDED_SOURCES and not event.untrusted

"""What any store must do: every method is one transaction, and durable (fsync) when it returns.

The SQLite implementation is ``store.sqlite``; the same protocol must be implementable over PostgreSQL, so no
statement, cursor or row object appears here. All methods raise StoreError when the disk refuses; nothing is then
half-written and reads go on working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hermesd.store.jobs import JobStore
    from hermesd.store.records import (
        Accepted,
        Backlog,
        BegunTurn,
        Cursor,
        EventPage,
        EventRow,
        InboxCounts,
        InboxRow,
        InboxState,
        MessageRow,
        NewEvent,
        NewMessage,
        NewOutbox,
        OutboxRow,
        OutboxState,
        QuestionRow,
        SearchHit,
        SessionRow,
        StepRow,
        StoreChange,
        TurnRow,
        TurnState,
    )
    from hermesd.store.watches import WatchStore
    from hermesd.store.webhooks import WebhookCounts


class Store(Protocol):
    """Inbox, journal, outbox, sessions, questions, events, small values, jobs, watches."""

    @property
    def jobs(self) -> JobStore:
        """Jobs and their runs."""

    @property
    def watches(self) -> WatchStore:
        """Watches and what they have seen."""

    @property
    def webhooks(self) -> WebhookCounts:
        """How often webhook routes were called, by outcome."""

    # -- inbox ---------------------------------------------------------------------------------------------------
    async def accept(self, events: Sequence[NewEvent], *, cursor: Cursor | None = None) -> list[Accepted]:
        """Commit events and the source's cursor together; an event whose key is known is a duplicate."""

    async def cursor(self, profile: str, source: str) -> str:
        """The last committed cursor value, or an empty string."""

    async def waiting(self, profile: str) -> list[InboxRow]:
        """Rows that are pending or running, oldest first: what the router takes up at start."""

    async def inbox_row(self, inbox_id: int) -> InboxRow:
        """One row; raises NotFoundError."""

    async def inbox(
        self, *, profile: str | None = None, states: Sequence[InboxState] = (), limit: int = 100
    ) -> list[InboxRow]:
        """Newest first; no states means all."""

    async def resolve_inbox(self, inbox_id: int, *, action: str, note: str = "") -> InboxRow:
        """A person's decision on a parked or failed row: ``retry`` (→ pending, fresh turn), ``resume`` (→ pending, the
        unknown step is taken as done with ``note`` as its result), ``drop``. Raises NotFoundError, ConflictError."""

    # -- turns and their journal -----------------------------------------------------------------------------------
    async def begin_turn(self, inbox_id: int, *, session_id: str) -> BegunTurn:
        """Start or take up the event's turn. A turn found ``running`` was cut by a crash: ``crashes`` goes up by one,
        and its tool steps found ``started`` with effect ``unsafe`` become ``unknown``."""

    async def journal(self, steps: Sequence[StepRow]) -> None:
        """Insert or replace steps by (turn_id, seq), in one transaction."""

    async def finish_turn(
        self,
        turn_id: str,
        *,
        state: TurnState,
        inbox_state: InboxState,
        steps: Sequence[StepRow] = (),
        messages: Sequence[NewMessage] = (),
        outbox: Sequence[NewOutbox] = (),
        model: str = "",
        input_tokens: int = 0,
        output_tokens: int = 0,
        error: str = "",
    ) -> TurnRow:
        """End a turn: last steps, messages, replies, the inbox acknowledgement and the event, together."""

    async def suspend_turn(
        self,
        turn_id: str,
        *,
        state: TurnState,
        not_before: float = 0.0,
        error: str = "",
        outbox: Sequence[NewOutbox] = (),
    ) -> None:
        """Put a running turn back (``suspended`` or ``deferred``) so that the same event is taken up again later."""

    async def turn(self, turn_id: str) -> TurnRow:
        """One turn; raises NotFoundError."""

    async def turn_of(self, inbox_id: int) -> TurnRow | None:
        """The event's newest turn, if it has begun."""

    async def steps(self, turn_id: str) -> list[StepRow]:
        """A turn's journal in order."""

    # -- outbox ------------------------------------------------------------------------------------------------------
    async def offer(self, rows: Sequence[NewOutbox]) -> list[OutboxRow]:
        """Queue messages; a known idempotency key returns the row already there."""

    async def due_outbox(self, profile: str, *, now: float, limit: int = 50) -> list[OutboxRow]:
        """Rows of the profile that are ``pending`` with next_at <= now, or ``attempting`` (cut by a crash), oldest
        first; rows of platform ``rpc`` are never due, they are collected by the caller."""

    async def next_outbox_at(self, profile: str) -> float | None:
        """When the next pending row falls due (epoch seconds), or None."""

    async def mark_attempting(self, outbox_id: int, *, repeat: bool = False) -> None:
        """Committed before the bytes leave; ``attempts`` goes up by one."""

    async def mark_draft(self, outbox_id: int, *, ref: str) -> None:
        """Remember the platform's message id of what has been shown so far."""

    async def mark_sent(self, outbox_id: int, *, ref: str) -> None:
        """Delivered."""

    async def mark_unsent(self, outbox_id: int, *, state: OutboxState, error: str, next_at: float = 0.0) -> None:
        """Not delivered: ``pending`` (try again at next_at), ``held`` or ``dead``."""

    async def outbox_row(self, outbox_id: int) -> OutboxRow:
        """One row; raises NotFoundError."""

    async def outbox_by_key(self, idempotency_key: str) -> OutboxRow | None:
        """The row with this key."""

    async def outbox(
        self, *, profile: str | None = None, states: Sequence[OutboxState] = (), limit: int = 100
    ) -> list[OutboxRow]:
        """Newest first; no states means all."""

    async def resolve_outbox(self, outbox_id: int, *, action: str) -> OutboxRow:
        """``retry`` or ``drop`` a held, dead or pending row. Raises NotFoundError, ConflictError."""

    # -- sessions ----------------------------------------------------------------------------------------------------
    async def open_session(self, profile: str, key: str, *, source: str) -> SessionRow:
        """The session this key is bound to now, created when there is none."""

    async def new_session(self, profile: str, key: str, *, source: str) -> SessionRow:
        """Bind the key to a fresh session (``/new``)."""

    async def session(self, session_id: str, *, profile: str | None = None) -> SessionRow:
        """By id or unique prefix of one; raises NotFoundError, ConflictError (ambiguous)."""

    async def sessions(self, *, profile: str | None = None, limit: int = 50) -> list[SessionRow]:
        """Most recently used first."""

    async def messages(self, session_id: str, *, limit: int = 1000) -> list[MessageRow]:
        """The newest ``limit`` messages, in order."""

    async def search(self, query: str, *, profile: str | None = None, limit: int = 20) -> list[SearchHit]:
        """Full-text search; the query is plain words, "phrases" and trailing ``*``. Never raises on odd input."""

    async def set_title(self, session_id: str, title: str) -> None:
        """Name a session."""

    # -- questions ---------------------------------------------------------------------------------------------------
    async def ask(
        self, *, turn_id: str, session_id: str, profile: str, kind: str, key: str, text: str, options: Sequence[str]
    ) -> QuestionRow:
        """Open a question, or return the one already asked under (turn_id, key)."""

    async def answer(self, question_id: int, answer: str) -> QuestionRow:
        """Answer an open question; raises NotFoundError, ConflictError when it is no longer open."""

    async def open_questions(self, *, profile: str | None = None, session_id: str | None = None) -> list[QuestionRow]:
        """Oldest first."""

    async def expire_question(self, question_id: int) -> QuestionRow:
        """Nobody answered in time. One that was answered first stays so: the row as it then stands is returned."""

    # -- events and small values -----------------------------------------------------------------------------------
    async def record_event(self, kind: str, *, subject: str, profile: str = "", data: object = None) -> EventRow:
        """Append an event of its own (state changes append theirs in their own transaction)."""

    async def events_since(self, after_id: int, *, limit: int = 500, profile: str | None = None) -> EventPage:
        """The exact suffix after a revision, or ``truncated``."""

    async def last_event_id(self) -> int:
        """The newest revision, 0 when there is none."""

    def subscribe(
        self, listener: Callable[[list[EventRow]], None], *, profile: str | None = None
    ) -> Callable[[], None]:
        """Call ``listener`` on the loop, in order, with the events of each commit (None), or those of one profile;
        returns the unsubscriber."""

    async def get_value(self, name: str) -> bytes | None:
        """A small named value, e.g. restart budgets."""

    async def set_value(self, name: str, value: bytes | None) -> None:
        """Set or (None) remove it."""

    async def commit(self, changes: Sequence[StoreChange]) -> None:
        """All of them in one transaction, in order. Raises ConflictError (one is not as it was expected to be)."""

    async def counts(self) -> InboxCounts:
        """Rows by state."""

    async def backlog(self, profile: str) -> Backlog:
        """What of a profile is under way or waits to be."""

    async def delete_profile(self, profile: str) -> None:
        """Remove every row of a profile."""

    async def rename_profile(self, old: str, new: str) -> None:
        """Move every row of a profile to its new name."""

    async def prune(self, *, older_than: float) -> int:
        """Remove finished inbox rows (dedupe keys), sent outbox rows and events older than this; returns how many."""

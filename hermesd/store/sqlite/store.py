"""``SqliteStore``: the store protocol over one SQLite file. Each method names the change or read that it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from hermesd.errors import StoreError
from hermesd.store.records import EventRow
from hermesd.store.sqlite import combined, events, inbox, maintenance, outbox, questions, sessions, turns
from hermesd.store.sqlite.file import open_database
from hermesd.store.sqlite.job_store import SqliteJobs
from hermesd.store.sqlite.readers import Readers
from hermesd.store.sqlite.watch_store import SqliteWatches
from hermesd.store.sqlite.webhook_counts import SqliteWebhookCounts
from hermesd.store.sqlite.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import apsw

    from hermesd.store.records import (
        Accepted,
        Backlog,
        BegunTurn,
        Cursor,
        EventPage,
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

STOP_S = 10.0


class SqliteStore:
    """See ``store.protocol.Store`` for what each method promises.

    It works as soon as it is open; as a service, ``run`` ends the writer in an orderly way. All methods must be
    called on the loop.
    """

    def __init__(self, path: Path, db: apsw.Connection) -> None:
        self.path = path
        self._subscribers = events.Subscribers()
        self._writer = Writer(path, db, self._subscribers.tell)
        self._read = Readers(path)
        self.jobs = SqliteJobs(self._writer, self._read)
        self.watches = SqliteWatches(self._writer, self._read)
        self.webhooks = SqliteWebhookCounts(self._writer, self._read)

    @classmethod
    def open(cls, path: Path) -> SqliteStore:
        """The store in ``path``, made when there is none; in ``hermesd.db`` beside it when ``path`` is not ours.

        Raises StoreError; a damaged file has then been renamed, and a second call begins an empty one.
        """
        return cls(*open_database(path))

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Until cancelled; then what waits is written, the log is moved into the file, and the writer ends."""
        self._writer.start()
        try:
            task_status.started()
            await self._writer.wait_ended()
            raise StoreError("the writer ended", where=str(self.path), next_step="see the log of hermesd")
        finally:
            with trio.move_on_after(STOP_S, shield=True):
                await trio.to_thread.run_sync(
                    self._writer.stop, limiter=trio.CapacityLimiter(1), abandon_on_cancel=True
                )

    def close(self) -> None:
        """Write what waits and close the file. Blocks for as long as that takes."""
        self._read.close()
        self._writer.close()

    @property
    def failure(self) -> str:
        """Why the last write was refused; empty while the store can write."""
        return self._writer.failure

    async def answers(self) -> None:
        """Return once a change of nothing has passed through the writer: it commits. Raises StoreError."""
        await self._writer.submit(lambda _: None)

    async def check(self) -> list[str]:
        """SQLite's own findings on the file (``quick_check``); empty when it is sound. For ``doctor``: it reads all."""
        rows = await self._read.in_thread(lambda view: view.all("PRAGMA quick_check(20)"))
        return [str(row[0]) for row in rows if row[0] != "ok"]

    # -- inbox -------------------------------------------------------------------------------------------------------

    async def accept(self, events: Sequence[NewEvent], *, cursor: Cursor | None = None) -> list[Accepted]:
        """Commit events and the source's cursor together."""
        return await self._writer.submit(lambda tx: inbox.accept(tx, events, cursor), accepts=True)

    async def cursor(self, profile: str, source: str) -> str:
        """The last committed cursor value, or ''."""
        return await self._read.here(lambda view: inbox.cursor_value(view, profile, source))

    async def waiting(self, profile: str) -> list[InboxRow]:
        """Pending or running rows, oldest first."""
        if not await self._read.here(lambda view: inbox.has_waiting(view, profile)):
            return []  # what most profiles find at start, without a thread for each
        return await self._read.in_thread(lambda view: inbox.waiting(view, profile))

    async def inbox_row(self, inbox_id: int) -> InboxRow:
        """One row; raises NotFoundError."""
        return await self._read.here(lambda view: inbox.get(view, inbox_id))

    async def inbox(
        self, *, profile: str | None = None, states: Sequence[InboxState] = (), limit: int = 100
    ) -> list[InboxRow]:
        """Newest first."""
        return await self._read.in_thread(lambda view: inbox.listing(view, profile, states, limit))

    async def resolve_inbox(self, inbox_id: int, *, action: str, note: str = "") -> InboxRow:
        """``retry`` | ``resume`` | ``drop``. Raises NotFoundError, ConflictError, UsageError."""
        return await self._writer.submit(lambda tx: inbox.resolve(tx, inbox_id, action, note))

    # -- turns -------------------------------------------------------------------------------------------------------

    async def begin_turn(self, inbox_id: int, *, session_id: str) -> BegunTurn:
        """Start or take up the event's turn. Raises NotFoundError, ConflictError (the event has ended)."""
        return await self._writer.submit(lambda tx: turns.begin(tx, inbox_id, session_id))

    async def journal(self, steps: Sequence[StepRow]) -> None:
        """Insert or replace steps by (turn_id, seq). Raises NotFoundError."""
        await self._writer.submit(lambda tx: turns.journal(tx, steps))

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
        """End a running turn. Raises NotFoundError, ConflictError."""
        return await self._writer.submit(
            lambda tx: turns.finish(
                tx,
                turn_id,
                state=state,
                inbox_state=inbox_state,
                last_steps=steps,
                messages=messages,
                replies=outbox,
                model=model,
                input_tokens=input_tokens,
                output_tokens=output_tokens,
                error=error,
            )
        )

    async def suspend_turn(
        self,
        turn_id: str,
        *,
        state: TurnState,
        not_before: float = 0.0,
        error: str = "",
        outbox: Sequence[NewOutbox] = (),
    ) -> None:
        """Put a running turn back. Raises NotFoundError, ConflictError."""
        await self._writer.submit(
            lambda tx: turns.suspend(tx, turn_id, state=state, not_before=not_before, error=error, replies=outbox)
        )

    async def turn(self, turn_id: str) -> TurnRow:
        """One turn; raises NotFoundError."""
        return await self._read.here(lambda view: turns.get(view, turn_id))

    async def turn_of(self, inbox_id: int) -> TurnRow | None:
        """The event's newest turn."""
        return await self._read.here(lambda view: turns.newest_of(view, inbox_id))

    async def steps(self, turn_id: str) -> list[StepRow]:
        """The journal in order."""
        return await self._read.in_thread(lambda view: turns.steps(view, turn_id))

    # -- outbox ------------------------------------------------------------------------------------------------------

    async def offer(self, rows: Sequence[NewOutbox]) -> list[OutboxRow]:
        """Queue messages; a known key returns the row already there."""
        return await self._writer.submit(lambda tx: outbox.offer(tx, rows))

    async def due_outbox(self, profile: str, *, now: float, limit: int = 50) -> list[OutboxRow]:
        """Pending and due, or attempting; oldest first."""
        return await self._read.here(lambda view: outbox.due(view, profile, now, limit))

    async def next_outbox_at(self, profile: str) -> float | None:
        """When the next pending row falls due."""
        return await self._read.here(lambda view: outbox.next_at(view, profile))

    async def mark_attempting(self, outbox_id: int, *, repeat: bool = False) -> None:
        """Before the bytes leave. Raises NotFoundError, ConflictError (dropped, held or sent meanwhile)."""
        await self._writer.submit(lambda tx: outbox.mark_attempting(tx, outbox_id, repeat=repeat))

    async def mark_draft(self, outbox_id: int, *, ref: str) -> None:
        """Remember the message id of what is shown so far. Raises NotFoundError."""
        await self._writer.submit(lambda tx: outbox.mark_draft(tx, outbox_id, ref))

    async def mark_sent(self, outbox_id: int, *, ref: str) -> None:
        """Delivered; an empty ``ref`` keeps the one known. Raises NotFoundError."""
        await self._writer.submit(lambda tx: outbox.mark_sent(tx, outbox_id, ref))

    async def mark_unsent(self, outbox_id: int, *, state: OutboxState, error: str, next_at: float = 0.0) -> None:
        """Not delivered. Raises NotFoundError, ConflictError, UsageError."""
        await self._writer.submit(
            lambda tx: outbox.mark_unsent(tx, outbox_id, state=state, error=error, next_at=next_at)
        )

    async def outbox_row(self, outbox_id: int) -> OutboxRow:
        """One row; raises NotFoundError."""
        return await self._read.here(lambda view: outbox.get(view, outbox_id))

    async def outbox_by_key(self, idempotency_key: str) -> OutboxRow | None:
        """The row with this key."""
        return await self._read.here(lambda view: outbox.by_key(view, idempotency_key))

    async def outbox(
        self, *, profile: str | None = None, states: Sequence[OutboxState] = (), limit: int = 100
    ) -> list[OutboxRow]:
        """Newest first."""
        return await self._read.in_thread(lambda view: outbox.listing(view, profile, states, limit))

    async def resolve_outbox(self, outbox_id: int, *, action: str) -> OutboxRow:
        """``retry`` | ``drop``. Raises NotFoundError, ConflictError, UsageError."""
        return await self._writer.submit(lambda tx: outbox.resolve(tx, outbox_id, action))

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def open_session(self, profile: str, key: str, *, source: str) -> SessionRow:
        """The session the key is bound to, created when there is none."""
        if known := await self._read.here(lambda view: sessions.bound(view, profile, key)):
            return known
        return await self._writer.submit(lambda tx: sessions.open_or_create(tx, profile, key, source))

    async def new_session(self, profile: str, key: str, *, source: str) -> SessionRow:
        """Bind the key to a fresh session."""
        return await self._writer.submit(lambda tx: sessions.create(tx, profile, key, source))

    async def session(self, session_id: str, *, profile: str | None = None) -> SessionRow:
        """By id or unique prefix; raises NotFoundError, ConflictError."""
        return await self._read.here(lambda view: sessions.find(view, session_id, profile))

    async def sessions(self, *, profile: str | None = None, limit: int = 50) -> list[SessionRow]:
        """Most recently used first."""
        return await self._read.in_thread(lambda view: sessions.listing(view, profile, limit))

    async def messages(self, session_id: str, *, limit: int = 1000) -> list[MessageRow]:
        """The newest ``limit`` messages, in order."""
        return await self._read.in_thread(lambda view: sessions.messages(view, session_id, limit))

    async def search(self, query: str, *, profile: str | None = None, limit: int = 20) -> list[SearchHit]:
        """Full-text search; never raises on odd input."""
        from hermesd.store.sqlite import search

        return await self._read.in_thread(lambda view: search.search(view, query, profile, limit))

    async def set_title(self, session_id: str, title: str) -> None:
        """Name a session; raises NotFoundError."""
        await self._writer.submit(lambda tx: sessions.set_title(tx, session_id, title))

    # -- questions ---------------------------------------------------------------------------------------------------

    async def ask(
        self, *, turn_id: str, session_id: str, profile: str, kind: str, key: str, text: str, options: Sequence[str]
    ) -> QuestionRow:
        """Open a question, or return the one already asked under (turn_id, key)."""
        return await self._writer.submit(
            lambda tx: questions.ask(
                tx,
                turn_id=turn_id,
                session_id=session_id,
                profile=profile,
                kind=kind,
                key=key,
                text=text,
                options=options,
            )
        )

    async def answer(self, question_id: int, answer: str) -> QuestionRow:
        """Answer an open question; raises NotFoundError, ConflictError."""
        return await self._writer.submit(lambda tx: questions.answer(tx, question_id, answer))

    async def open_questions(self, *, profile: str | None = None, session_id: str | None = None) -> list[QuestionRow]:
        """Oldest first."""
        return await self._read.here(lambda view: questions.open_ones(view, profile, session_id))

    async def expire_question(self, question_id: int) -> QuestionRow:
        """Nobody answered in time; the row as it then stands. Raises NotFoundError."""
        return await self._writer.submit(lambda tx: questions.expire(tx, question_id))

    # -- events and small values ---------------------------------------------------------------------------------------

    async def record_event(self, kind: str, *, subject: str, profile: str = "", data: object = None) -> EventRow:
        """Append an event of its own; ``data`` is a mapping (anything else is kept under ``value``)."""
        fields = data if isinstance(data, dict) else {} if data is None else {"value": data}
        return await self._writer.submit(lambda tx: tx.event(kind, subject, profile, fields))

    async def events_since(self, after_id: int, *, limit: int = 500, profile: str | None = None) -> EventPage:
        """The exact suffix after a revision, or ``truncated``."""
        return await self._read.in_thread(lambda view: events.since(view, after_id, limit, profile))

    async def last_event_id(self) -> int:
        """The newest revision."""
        return await self._read.here(events.last_id)

    def subscribe(
        self, listener: Callable[[list[EventRow]], None], *, profile: str | None = None
    ) -> Callable[[], None]:
        """Call ``listener`` with the events of each commit, all or a profile's, in order; returns the unsubscriber."""
        return self._subscribers.add(listener, profile)

    async def get_value(self, name: str) -> bytes | None:
        """A small named value."""
        return await self._read.here(lambda view: maintenance.get_value(view, name))

    async def set_value(self, name: str, value: bytes | None) -> None:
        """Set or (None) remove it."""
        await self._writer.submit(lambda tx: maintenance.set_value(tx, name, value))

    async def commit(self, changes: Sequence[StoreChange]) -> None:
        """All of them in one transaction. Raises ConflictError."""
        await self._writer.submit(lambda tx: combined.commit(tx, changes))

    async def counts(self) -> InboxCounts:
        """Rows by state."""
        return await self._read.in_thread(maintenance.counts)

    async def backlog(self, profile: str) -> Backlog:
        """What of a profile is under way or waits to be."""
        return await self._read.in_thread(lambda view: maintenance.backlog(view, profile))

    async def delete_profile(self, profile: str) -> None:
        """Remove every row of a profile."""
        await self._writer.submit(lambda tx: maintenance.delete_profile(tx, profile))

    async def rename_profile(self, old: str, new: str) -> None:
        """Move every row of a profile; raises ConflictError when the new name has rows."""
        await self._writer.submit(lambda tx: maintenance.rename_profile(tx, old, new))

    async def prune(self, *, older_than: float) -> int:
        """Remove what has ended and is older; in portions, so that nobody's commit waits long. Returns how many."""
        older_than = min(older_than, time.time())
        total = 0
        while removed := await self._writer.submit(lambda tx: maintenance.prune(tx, older_than)):
            total += removed
        return total

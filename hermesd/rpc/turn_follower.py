"""Staying with one message's turn: its updates as they happen, and its answer once it is decided.

Subscribed before the message is accepted, because its turn may begin, and end, before ``accept`` has returned. The
store alone says whether it is decided: a turn may end without a word to ``Live`` (a command, an answered question), by
a decision of a person, or before we came.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from hermesd.rpc.wire import ChatResult, ChatUpdate

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.rpc.calls import Stream
    from hermesd.rpc.context import Daemon
    from hermesd.store.records import Accepted, EventRow, InboxRow, OutboxRow, TurnRow
    from hermesd.turns.live import Update

MAX_EARLY_UPDATES = 1000
UNDECIDED = ("pending", "running")
DELIVERED_REF = "rpc"


class TurnFollower:
    """A context: subscribed within it. Call ``follow`` right after ``accept``, without awaiting in between."""

    def __init__(self, daemon: Daemon, profile: str, stream: Stream, *, is_quiet: bool) -> None:
        self._daemon = daemon
        self._store = daemon.store
        self._profile = profile
        self._stream = stream
        self._is_quiet = is_quiet
        self._inbox_id = 0
        self._is_duplicate = False
        self._early: list[Update] = []
        self._wake = trio.Event()
        self._unsubscribers: list[Callable[[], None]] = []

    def __enter__(self) -> TurnFollower:
        self._unsubscribers = [
            self._store.subscribe(self._on_events),
            self._daemon.live.follow_profile(self._profile, self._on_early),
        ]
        return self

    def __exit__(self, *_exception: object) -> None:
        while self._unsubscribers:
            self._unsubscribers.pop()()

    def follow(self, accepted: Accepted, delivery_id: str) -> None:
        """From now on only this message's turn; what it has already said is passed on."""
        self._inbox_id, self._is_duplicate = accepted.id, accepted.duplicate
        self._unsubscribers.pop()()
        self._unsubscribers.append(self._daemon.live.follow_event(accepted.id, self._on_update))
        self._tell(ChatUpdate(id=self._stream.id, kind="accepted", name=delivery_id))
        early, self._early = self._early, []
        for update in early:
            if update.inbox_id == accepted.id:
                self._on_update(update)

    async def result(self) -> ChatResult:
        """Wait until the message is decided. Raises NotFoundError when it was removed (its profile deleted)."""
        is_first = True
        while True:
            self._wake = trio.Event()  # before looking, so that nothing after the look goes unnoticed
            row = await self._store.inbox_row(self._inbox_id)
            if row.state not in UNDECIDED:
                return await self._answer(row)
            if is_first and self._is_duplicate:
                await self._tell_where_it_stands(row)
            is_first = False
            await self._wake.wait()

    # -- listeners ----------------------------------------------------------------------------------------------

    def _on_early(self, update: Update) -> None:
        if len(self._early) < MAX_EARLY_UPDATES:
            self._early.append(update)

    def _on_update(self, update: Update) -> None:
        if update.kind == "finished":
            self._wake.set()
            return
        self._tell(
            ChatUpdate(
                id=self._stream.id,
                kind=update.kind,
                text=update.text,
                name=update.name,
                session=update.session_id,
                turn=update.turn_id,
                question=update.question,
                is_error=update.is_error,
            )
        )

    def _on_events(self, events: list[EventRow]) -> None:
        for event in events:
            if event.profile == self._profile and self._may_decide(event):
                self._wake.set()

    def _may_decide(self, event: EventRow) -> bool:
        if event.kind.startswith("turn."):
            return event.data.get("inbox_id") == self._inbox_id
        return event.kind == "profile.deleted" or (
            event.kind == "inbox.resolved" and event.data.get("id") == self._inbox_id
        )

    def _tell(self, update: ChatUpdate) -> None:
        if not self._is_quiet:
            self._stream.offer(update)

    # -- what the store knows -----------------------------------------------------------------------------------

    async def _tell_where_it_stands(self, row: InboxRow) -> None:
        """Someone asks again: what they missed and need, an open question or why it takes so long."""
        turn = await self._store.turn_of(row.id)
        if turn is None or self._is_quiet:
            return
        if row.not_before > time.time():
            self._tell(ChatUpdate(id=self._stream.id, kind="notice", text=f"it is tried again later: {row.error}"))
        for question in await self._store.open_questions(session_id=turn.session_id):
            if question.turn_id == turn.id:
                self._tell(
                    ChatUpdate(
                        id=self._stream.id,
                        kind="question",
                        text=question.text,
                        session=turn.session_id,
                        turn=turn.id,
                        question=question,
                    )
                )

    async def _answer(self, row: InboxRow) -> ChatResult:
        turn = await self._store.turn_of(row.id)
        reply = await self._store.outbox_by_key(f"turn:{turn.id}:reply") if turn else None
        if reply is not None and reply.state != "sent":
            self._stream.delivered = lambda: self._store.mark_sent(reply.id, ref=DELIVERED_REF)
        return chat_result(row, turn, reply, is_duplicate=self._is_duplicate)


def chat_result(row: InboxRow, turn: TurnRow | None, reply: OutboxRow | None, *, is_duplicate: bool) -> ChatResult:
    """A decided message's result. One that was dropped counts as cancelled."""
    text = reply.text if reply else ""
    if turn is None:
        state = "failed" if row.state == "failed" else "cancelled"
        return ChatResult(state=state, text=text, inbox_id=row.id, duplicate=is_duplicate, error=row.error or row.state)
    if reply is None and turn.state in ("parked", "failed"):
        text = turn.error
    return ChatResult(
        state="cancelled" if row.state == "dropped" else turn.state,
        text=text,
        session=turn.session_id,
        turn=turn.id,
        inbox_id=row.id,
        duplicate=is_duplicate,
        model=turn.model,
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        error=turn.error or row.error,
    )

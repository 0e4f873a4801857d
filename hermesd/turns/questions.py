"""Waiting for a person: an answer arrives by RPC or as a message, and wakes the turn that asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.turns.persist import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.store.protocol import Store
    from hermesd.store.records import QuestionRow

YES = frozenset({"y", "yes", "ok", "allow", "approve", "approved", "once"})
ALWAYS = frozenset({"a", "always", "session"})
NO = frozenset({"n", "no", "deny", "denied", "stop", "cancel"})


class _Waiter(msgspec.Struct):
    turn_id: str
    answered: trio.Event = msgspec.field(default_factory=trio.Event)
    answer: str | None = None


class Questions:
    """The turns that wait, by question id. Answers are durable before a turn is woken."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[int, _Waiter] = {}

    async def answer(self, question_id: int, answer: str | None) -> QuestionRow:
        """Record the answer, or None that there will be none, and wake the turn.

        Raises NotFoundError, ConflictError, StoreError.
        """
        if answer is None:
            row = await self._store.expire_question(question_id)
        else:
            row = await self._store.answer(question_id, answer)
        if (waiter := self._waiting.get(question_id)) is not None:
            waiter.answer = _final(row)
            waiter.answered.set()
        return row

    def is_waiting(self, turn_id: str) -> bool:
        """Whether the turn stands still until a person answers."""
        return any(waiter.turn_id == turn_id for waiter in self._waiting.values())

    async def wait(
        self, question: QuestionRow, *, announce: Callable[[], Awaitable[None]], timeout_s: float
    ) -> str | None:
        """The answer, or None when nobody gave one in time (the question is then expired).

        Call it right after ``Store.ask``: an answer may come as soon as the question is known to anybody, so it is
        waited for before ``announce`` tells of it.
        """
        if question.state != "open":
            return _final(question)
        waiter = self._waiting[question.id] = _Waiter(question.turn_id)
        try:
            await announce()
            with trio.move_on_after(timeout_s):
                await waiter.answered.wait()
                return waiter.answer
        finally:
            del self._waiting[question.id]
        return _final(await persist(lambda: self._store.expire_question(question.id)))


def _final(question: QuestionRow) -> str | None:
    return question.answer if question.state == "answered" else None


def _word(answer: str) -> str:
    return answer.strip().lower().lstrip("/").rstrip(".!")


def means_yes(answer: str) -> bool:
    """Whether an approval was given; anything unclear is none."""
    return _word(answer) in YES | ALWAYS


def means_always(answer: str) -> bool:
    """Whether it was given for the rest of the session."""
    return _word(answer) in ALWAYS


def means_no(answer: str) -> bool:
    """Whether it was plainly refused."""
    return _word(answer) in NO

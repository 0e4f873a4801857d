"""Waiting for a person: an answer arrives by RPC or as a message, and wakes the turn that asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from hermesd.store.protocol import Store
    from hermesd.store.records import QuestionRow

YES = frozenset({"y", "yes", "ok", "allow", "approve", "approved", "once"})
ALWAYS = frozenset({"a", "always", "session"})


class Questions:
    """The turns that wait, by question id. Answers are durable before a turn is woken."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[int, trio.Event] = {}
        self._answers: dict[int, str] = {}

    async def answer(self, question_id: int, answer: str) -> QuestionRow:
        """Record the answer and wake the turn. Raises NotFoundError, ConflictError."""
        row = await self._store.answer(question_id, answer)
        self._answers[question_id] = answer
        if (event := self._waiting.get(question_id)) is not None:
            event.set()
        return row

    async def wait(self, question: QuestionRow, *, timeout_s: float) -> str | None:
        """The answer, or None when nobody gave one in time (the question is then expired)."""
        if question.state == "answered":
            return question.answer
        if question.state == "expired":
            return None
        event = self._waiting.setdefault(question.id, trio.Event())
        try:
            with trio.move_on_after(timeout_s):
                await event.wait()
                return self._answers.get(question.id, "")
        finally:
            self._waiting.pop(question.id, None)
            self._answers.pop(question.id, None)
        await self._store.expire_question(question.id)
        return None


def means_yes(answer: str | None) -> bool:
    """Whether an approval was given; silence and anything unclear is a no."""
    word = (answer or "").strip().lower().lstrip("/")
    return word in YES or word in ALWAYS


def means_always(answer: str | None) -> bool:
    """Whether it was given for the rest of the session."""
    return (answer or "").strip().lower().lstrip("/") in ALWAYS

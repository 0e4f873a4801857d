"""What is happening in running turns, as it happens: not durable, for streams and drafts only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from hermesd.store.records import QuestionRow, TurnState

if TYPE_CHECKING:
    from collections.abc import Callable

K = TypeVar("K")

UpdateKind = Literal[
    "started", "text", "reasoning", "restarted", "tool", "tool_result", "question", "notice", "finished"
]


class Update(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened in a turn. ``finished`` carries the ``state`` and the whole answer in ``text``."""

    kind: UpdateKind
    profile: str
    session_id: str
    turn_id: str
    inbox_id: int
    text: str = ""
    name: str = ""
    is_error: bool = False
    question: QuestionRow | None = None
    state: TurnState | None = None


class Live:
    """Fan-out of updates on the loop. A listener must not block and must not raise."""

    def __init__(self) -> None:
        self._by_event: dict[int, list[Callable[[Update], None]]] = {}
        self._by_profile: dict[str, list[Callable[[Update], None]]] = {}

    def publish(self, update: Update) -> None:
        """Hand the update to those who asked for its event or its profile."""
        for listener in (*self._by_event.get(update.inbox_id, ()), *self._by_profile.get(update.profile, ())):
            listener(update)

    def follow_event(self, inbox_id: int, listener: Callable[[Update], None]) -> Callable[[], None]:
        """Updates of the turn that answers this inbox row; returns the unsubscriber."""
        return _add(self._by_event, inbox_id, listener)

    def follow_profile(self, profile: str, listener: Callable[[Update], None]) -> Callable[[], None]:
        """Updates of every turn of a profile; returns the unsubscriber."""
        return _add(self._by_profile, profile, listener)


def _add(
    table: dict[K, list[Callable[[Update], None]]], key: K, listener: Callable[[Update], None]
) -> Callable[[], None]:
    table.setdefault(key, []).append(listener)

    def remove() -> None:
        listeners = table.get(key, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            table.pop(key, None)

    return remove

"""Who can be asked when a server asks something back: the person behind the call that is under way.

A server's own requests come on the session's tasks, and only HTTP tells which call they belong to: there the SDK runs
the callback in the context of the call's sender, and in the 2026-07-28 era the callback is run by the call itself.
Elsewhere the only call under way is meant; with several, nobody is asked, so that no question reaches the wrong person.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.tools.base import ToolContext

WITHDRAW_S = 2.0
MAX_QUESTIONS = 100
"""Of one call; a server that goes on gets no more answers. Nor does one whose question nobody answered."""

_caller: ContextVar[ToolContext | None] = ContextVar("caller", default=None)
_current: ContextVar[CallUnderWay | None] = ContextVar("current", default=None)


@contextmanager
def on_behalf_of(context: ToolContext) -> Iterator[None]:
    """Calls made within are those of this scope; its user can be asked."""
    token = _caller.set(context)
    try:
        yield
    finally:
        _caller.reset(token)


class CallUnderWay:
    """One call of a server, with its time. ``allowed``: whether its user lets the server use our model during it.

    ``clock`` is the scope whose deadline bounds the call; it stands still while a person is waited for.
    """

    def __init__(self, context: ToolContext | None) -> None:
        self.context = context
        self.clock = trio.CancelScope()
        self.allowed: bool | None = None  # not asked yet
        self._turn = trio.Lock()
        self._waits: set[trio.CancelScope] = set()
        self._left_s = math.inf
        self._over = False
        self._kept = False
        self._questions_left = MAX_QUESTIONS

    @property
    def attended(self) -> bool:
        """Whether somebody can be asked."""
        return self.context is not None and self.context.attended and not self._over

    @contextmanager
    def asking(self) -> Iterator[trio.Lock]:
        """While questions are put: the call's time stands still, and the end of the call ends this.

        What is yielded is held by one who asks several questions in a row.
        """
        with self._standing_still(), trio.CancelScope() as scope:
            self._waits.add(scope)
            try:
                yield self._turn
            finally:
                self._waits.discard(scope)

    async def ask(self, question: str, options: list[str]) -> str | None:
        """The answer, or None when there is none to be had. A question that is given up is taken back."""
        if self.context is None or not self.attended or not self._questions_left:
            return None
        self._questions_left -= 1
        try:
            answer = await self.context.ask(question, options)
        except trio.Cancelled:
            if not self._kept:
                with trio.move_on_after(WITHDRAW_S, shield=True):
                    await self.context.withdraw()
            raise
        if answer is None:
            self._questions_left = 0
        return answer

    def end(self, *, kept: bool) -> None:
        """The call is over. ``kept``: its turn was interrupted, and decides itself what becomes of its questions."""
        self._over, self._kept = True, kept
        for scope in self._waits:
            scope.cancel()

    @contextmanager
    def _standing_still(self) -> Iterator[None]:
        if not self._waits:
            self._left_s = self.clock.deadline - trio.current_time()
            self.clock.deadline = math.inf
        try:
            yield
        finally:
            if not self._waits:
                self.clock.deadline = trio.current_time() + self._left_s


class CallsUnderWay:
    """The calls of one server."""

    def __init__(self) -> None:
        self._calls: list[CallUnderWay] = []

    @contextmanager
    def enter(self) -> Iterator[CallUnderWay]:
        """A call, made on behalf of whoever this task works for."""
        call = CallUnderWay(_caller.get())
        self._calls.append(call)
        token = _current.set(call)
        kept = False
        try:
            yield call
        except trio.Cancelled:
            kept = True
            raise
        finally:
            _current.reset(token)
            self._calls.remove(call)
            call.end(kept=kept)

    def candidates(self) -> list[CallUnderWay]:
        """The calls that a server's request may belong to: one where it can be told."""
        own = _current.get()
        return [call for call in self._calls if call is own] or list(self._calls)

    def concerned(self) -> CallUnderWay | None:
        """The call that a server's request belongs to, if that can be told."""
        found = self.candidates()
        return found[0] if len(found) == 1 else None

"""How a turn ends; each ending is one commit.

answered → done · a guard, a bug, a model that says no → failed · stopped by its user, or by a new message → cancelled
a planned stop of the daemon → suspended, or parked if an unsafe call was under way
the endpoint is away → deferred · outcome unknown, or cut twice by a crash → parked
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

from hermesd import failpoint
from hermesd.turns.outgoing import is_silent, outbox_rows
from hermesd.turns.persist import persist

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.providers.base import ProviderError
    from hermesd.store.records import InboxState, NewMessage, NewOutbox, StepRow, TurnState
    from hermesd.turns.conversation import Conversation
    from hermesd.turns.scope import TurnScope

StopCause = Literal["user", "redirect", "shutdown"]

FIRST_DEFERRAL_S = 5.0
LONGEST_DEFERRAL_S = 60.0

STOPPED = "Stopped."
INTERRUPTED = "[interrupted by a new message]"


class Outcome(msgspec.Struct, frozen=True):
    """How a turn ended for now. ``not_before`` (epoch seconds) is set when it was deferred."""

    state: TurnState
    not_before: float = 0.0


class Endings:
    """The ways out of one turn. All raise ConflictError or NotFoundError when the turn was taken away meanwhile."""

    def __init__(self, scope: TurnScope, talk: Conversation) -> None:
        self._scope = scope
        self._talk = talk
        self._turn = scope.turn
        self._store = scope.bench.store

    async def finish(
        self,
        state: TurnState,
        *,
        text: str,
        error: str = "",
        steps: Sequence[StepRow] = (),
        said: str = "",
        inbox_state: InboxState | None = None,
    ) -> Outcome:
        """Record the ending: messages, reply and acknowledgement in one commit.

        ``text`` goes out. ``said`` is what the session remembers as the last words of a turn that is not done.
        """
        failpoint.hit("turn.before_finish")
        unknown = [msgspec.structs.replace(step, state="unknown") for step in self._scope.uncertain.values()]
        quiet = state == "done" and "may_be_silent" in self._scope.event.meta and is_silent(text)
        kind: Literal["reply", "notice"] = "notice" if state == "parked" else "reply"
        outbox = [] if quiet else self._outgoing(text, kind=kind, key=self._key(state))
        messages = self._messages(state, said or f"[{text}]")
        await persist(
            lambda: self._store.finish_turn(
                self._turn.id,
                state=state,
                inbox_state=inbox_state or ("failed" if state == "failed" else "done"),
                steps=[*unknown, *steps],
                messages=messages,
                outbox=outbox,
                model=self._talk.model,
                input_tokens=self._talk.input_tokens,
                output_tokens=self._talk.output_tokens,
                error=error,
            )
        )
        failpoint.hit("turn.after_finish")
        self._scope.publish("finished", text=text, state=state)
        return Outcome(state)

    def _key(self, state: TurnState) -> str:
        """A parked turn may be parked again, and may yet get its reply."""
        return f"turn:{self._turn.id}:" + (f"parked:{self._turn.attempts}" if state == "parked" else "reply")

    def _messages(self, state: TurnState, said: str) -> list[NewMessage]:
        if state == "done":
            return self._talk.record()
        return self._talk.record(partial=self._scope.partial or said, cut=self._scope.uncertain)

    def _outgoing(self, text: str, *, key: str, kind: Literal["reply", "notice"]) -> list[NewOutbox]:
        """A row for each place the event names, if any. Who waits over RPC reads the turn itself."""
        event = self._scope.event
        place = event.address.platform
        if not place or (not text and place != "rpc") or (kind == "notice" and place == "rpc"):
            return []
        return outbox_rows(event, text, key=key, turn_id=self._turn.id, kind=kind)

    async def park(self, why: str) -> Outcome:
        """Put the turn before its owner; nothing is re-run and nothing dropped."""
        row = self._scope.event.id
        text = f"{why}\nDecide with: hermesctl inbox show {row}, then inbox retry {row}, resume {row} or drop {row}."
        return await self.finish("parked", text=text, error=why, inbox_state="parked")

    async def give_way(self, error: ProviderError) -> Outcome:
        """The model cannot be had: wait for it if it may come back, otherwise say what to do."""
        if not error.temporary:
            text = f"The model cannot answer: {error.what}." + (f" {error.next_step}." if error.next_step else "")
            return await self.finish("failed", text=text, error=error.what)
        delay = min(FIRST_DEFERRAL_S * 2 ** min(self._turn.attempts - 1, 8), LONGEST_DEFERRAL_S)
        not_before = time.time() + max(delay, error.retry_after_s)
        notice = f"The model is not reachable at the moment ({error.what}). Your message is kept and will be answered."
        outbox = self._outgoing(notice, key=f"turn:{self._turn.id}:deferred", kind="notice")
        await persist(
            lambda: self._store.suspend_turn(
                self._turn.id, state="deferred", not_before=not_before, error=error.what, outbox=outbox
            )
        )
        self._scope.publish("notice", text=notice)
        return Outcome("deferred", not_before)

    async def stopped(self, cause: StopCause) -> Outcome:
        """The turn was cancelled."""
        partial = self._scope.partial
        if cause == "user":
            text = f"{partial}\n\n{STOPPED}".lstrip()
            return await self.finish("cancelled", text=text, said=f"[{STOPPED}]", error="stopped by the user")
        if cause == "redirect":
            return await self.finish("cancelled", text=partial, said=INTERRUPTED, error="interrupted by a new message")
        for step in self._scope.uncertain.values():
            return await self.park(f"I was stopped while running {step.name} {step.request[:300]}.")
        await persist(lambda: self._store.suspend_turn(self._turn.id, state="suspended"))
        return Outcome("suspended")

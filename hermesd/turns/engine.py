"""The turn engine: model, tools, model … until there is an answer; every step journalled.

begun ──► ask the model ──► calls? ──no──► finish(done)
              ▲               │yes
              └── results ◄── run calls

How a turn ends otherwise is in ``turns.endings``.
"""

from __future__ import annotations

import logging
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd import failpoint
from hermesd.errors import ConflictError, NotFoundError
from hermesd.providers.base import (
    Delta,
    ModelReply,
    ModelRequest,
    ProviderError,
    ReasoningDelta,
    Restarted,
    TextDelta,
)
from hermesd.store.records import StepRow
from hermesd.turns import calls, suggestion
from hermesd.turns.conversation import Conversation, to_json
from hermesd.turns.endings import Endings, Outcome, StopCause
from hermesd.turns.prompt import system_prompt
from hermesd.turns.scope import TurnScope, Workbench

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.store.records import BegunTurn

__all__ = ["Outcome", "StopCause", "TurnControl", "run_turn"]

log = logging.getLogger(__name__)

MAX_CRASHES = 2
REPEATED_CALLS_LIMIT = 4
CLEANUP_S = 10.0

CUT_OFF = "[The answer was cut off here: the model reached its limit of output.]"
REFUSED = "(the model refused to answer)"
NO_ANSWER = "(no answer)"


class TurnControl(msgspec.Struct):
    """The handle by which others end a running turn.

    ``standing_still`` is entered while the turn waits for a person: it needs no place among those at work.
    """

    scope: trio.CancelScope
    standing_still: Callable[[], AbstractAsyncContextManager[None]] = nullcontext
    cause: StopCause | None = None

    def stop(self, cause: StopCause) -> None:
        """Cancel the turn; the first cause counts."""
        if self.cause is None:
            self.cause = cause
            self.scope.cancel()


class TurnStoppedError(Exception):
    """A guard ended the turn; the text is for the user."""


async def run_turn(bench: Workbench, begun: BegunTurn, control: TurnControl) -> Outcome:
    """Carry the turn to an ending.

    Raises ConflictError or NotFoundError when the turn was taken away meanwhile (dropped, its profile deleted), and
    trio.Cancelled from outside ``control.scope``.
    """
    turn = Turn(bench, begun, control)
    try:
        with control.scope:
            return await turn.to_an_ending()
        if control.cause in ("user", "redirect"):
            return await turn.endings.stopped(control.cause)
    except* trio.Cancelled:  # from outside: the service is stopped past its drain deadline (a group if calls ran)
        with trio.move_on_after(CLEANUP_S, shield=True):
            await turn.endings.stopped(control.cause or "shutdown")
        raise
    with trio.move_on_after(CLEANUP_S, shield=True):
        return await turn.endings.stopped("shutdown")
    return Outcome("suspended")  # the disk refuses: to the store it is cut, and the next start finds it so


class Turn:
    """One turn under way."""

    def __init__(self, bench: Workbench, begun: BegunTurn, control: TurnControl) -> None:
        self.bench = bench
        self.begun = begun
        self.agent = bench.settings.config.agent
        self.scope = TurnScope(bench, begun.turn, begun.event, standing_still=control.standing_still)
        self.talk = Conversation(begun, history_messages=self.agent.history_messages)
        self.endings = Endings(self.scope, self.talk)
        self._last_step: list[StepRow] = []
        self._last_calls = ""
        self._repeated = 0
        self._ready: list[calls.PreparedCall] = []

    async def to_an_ending(self) -> Outcome:
        """Advance; whatever goes wrong becomes an ending that is told."""
        try:
            return await self._within_its_time()
        except ProviderError as error:
            return await self.endings.give_way(error)
        except TurnStoppedError as stopped:
            return await self.endings.finish("failed", text=str(stopped), error=str(stopped))
        except (ConflictError, NotFoundError):
            raise
        except Exception as error:  # one turn's bug must not end the others: told to its user, traceback in the log
            log.exception("turn %s failed", self.begun.turn.id)
            sentence = f"An internal error ended this turn ({type(error).__name__}). It is in the daemon's log."
            return await self.endings.finish("failed", text=sentence, error=f"{type(error).__name__}: {error}")

    async def _within_its_time(self) -> Outcome:
        self.scope.publish("started")
        if why := await suggestion.refusal(self.scope):
            return await self.endings.finish("cancelled", text="", said=f"[{why}]", error=why, inbox_state="dropped")
        if why := self._unclear():
            return await self.endings.park(why)
        failpoint.hit("turn.begun")
        answer: ModelReply | None = None
        with trio.move_on_after(self.agent.turn_timeout_s):
            answer = await self._answer()
        if answer is None:
            limit = f"{self.agent.turn_timeout_s:g} s"
            raise TurnStoppedError(f"I stopped after {limit} without an answer (agent.turn_timeout_s).")
        return await self.endings.finish("done", text=_text_of(answer), steps=self._last_step)

    def _unclear(self) -> str:
        """Why a person must decide before the turn may go on, or ''."""
        crashes = self.begun.turn.crashes
        for step in self.begun.steps:
            if step.state == "unknown":
                call = f"{step.name} {step.request[:300]}"
                return f"I was cut off while running {call} and cannot know whether it was done."
        if crashes >= MAX_CRASHES:
            return f"The daemon was cut off {crashes} times while it answered this message; I did not try it again."
        return ""

    async def _answer(self) -> ModelReply:
        """From wherever the journal stands to the model's answer."""
        while True:
            if self.talk.pending:
                await self._run_calls()
            elif answer := self.talk.answer:
                return answer
            elif self.talk.replies >= self.agent.max_turns:
                limit = f"{self.agent.max_turns} steps"
                raise TurnStoppedError(f"I stopped after {limit} without an answer (agent.max_turns).")
            elif 0 < self.agent.token_budget <= (spent := self.talk.input_tokens + self.talk.output_tokens):
                limit = f"{spent} tokens of {self.agent.token_budget}"
                raise TurnStoppedError(f"I stopped after {limit} without an answer (the budget).")
            else:
                await self._ask_model()

    # -- the model -------------------------------------------------------------------------------------------------

    async def _ask_model(self) -> None:
        failpoint.hit("model.before_request")
        request = self._request()
        self.scope.partial = ""
        try:
            reply = await self.bench.provider.complete(request, on_delta=self._on_delta)
        except ProviderError as error:
            if error.kind != "overflow" or not self.talk.forget_oldest_half():
                raise
            notice = "The conversation was too long for the model; older parts were left out."
            self.scope.publish("notice", text=notice)
            return
        failpoint.hit("model.after_reply")
        self.scope.partial = ""
        await self._journal_reply(request, reply)

    def _request(self) -> ModelRequest:
        model = self.bench.settings.config.model
        return ModelRequest(
            model=model.default,
            system=system_prompt(self.bench.settings, self.begun.turn, self.begun.event, self.bench.workspace),
            messages=self.talk.messages(),
            tools=self.bench.tools.definitions(),
            max_output_tokens=model.max_output_tokens,
            reasoning_effort=model.reasoning_effort,
        )

    async def _journal_reply(self, request: ModelRequest, reply: ModelReply) -> None:
        """One commit for the answer and the intents of its calls; an answer without calls is committed by finish."""
        import hashlib

        seq = self.talk.next_seq()
        reply = _with_distinct_ids(msgspec.structs.replace(reply, model=reply.model or request.model), seq)
        digest = hashlib.sha256(to_json(request).encode()).hexdigest()
        step = StepRow(
            turn_id=self.begun.turn.id,
            seq=seq,
            kind="model",
            name=reply.provider or self.bench.provider.name,
            state="done",
            request=f'{{"sha256":"{digest}"}}',
            result=to_json(reply),
            at=time.time(),
        )
        self.talk.add_reply(reply)
        if not reply.tool_calls:
            self._last_step = [step]
            return
        self._count_repeats()
        prepared = self._prepared()
        if self._repeated < REPEATED_CALLS_LIMIT:
            calls.start_with_intent(prepared[0], self.scope)
        await self.scope.journal([step, *(item.first_step(self.scope) for item in prepared)])
        self._ready = prepared
        failpoint.hit("step.intent")

    def _on_delta(self, delta: Delta) -> None:
        if isinstance(delta, TextDelta):
            self.scope.partial += delta.text
            self.scope.publish("text", text=delta.text)
        elif isinstance(delta, ReasoningDelta):
            self.scope.publish("reasoning", text=delta.text)
        elif isinstance(delta, Restarted):
            self.scope.partial = ""
            self.scope.publish("restarted", text=delta.reason)

    # -- its calls -------------------------------------------------------------------------------------------------

    def _prepared(self) -> list[calls.PreparedCall]:
        self.scope.untrusted = self.talk.untrusted
        return [calls.prepare(call, self.talk.seq_of(call), self.scope) for call in self.talk.pending]

    async def _run_calls(self) -> None:
        if self._repeated >= REPEATED_CALLS_LIMIT:
            times = f"{REPEATED_CALLS_LIMIT} times in a row"
            raise TurnStoppedError(f"I stopped: the model asked for the same call {times} ({self._last_calls[:200]}).")
        prepared, self._ready = self._ready or self._prepared(), []
        await calls.execute_all(
            prepared, self.scope, on_result=lambda call, result: self.talk.add_result(call.id, result)
        )

    def _count_repeats(self) -> None:
        asked = "\n".join(f"{call.name} {call.arguments}" for call in self.talk.pending)
        self._repeated = self._repeated + 1 if asked == self._last_calls else 1
        self._last_calls = asked


def _text_of(answer: ModelReply) -> str:
    """The answer as its user reads it; what is missing from it is said."""
    if answer.stop == "length":
        return f"{answer.text}\n\n{CUT_OFF}".lstrip()
    return answer.text or (REFUSED if answer.stop == "refusal" else NO_ANSWER)


def _with_distinct_ids(reply: ModelReply, seq: int) -> ModelReply:
    """Some endpoints count call ids from zero in every answer; the journal needs them distinct within a turn."""
    renamed = [
        msgspec.structs.replace(call, id=f"{call.id[:24] or 'call'}_{seq}_{index}")
        for index, call in enumerate(reply.tool_calls)
    ]
    return msgspec.structs.replace(reply, tool_calls=renamed)

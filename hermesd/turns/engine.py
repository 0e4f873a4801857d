"""The turn engine: model, tools, model … until there is an answer; every step journalled, every ending recorded.

begun ──► ask the model ──► calls? ──no──► finish(done)
              ▲               │yes
              └── results ◄── run calls
cancelled by: user → finish(cancelled) · redirect → finish(cancelled) · shutdown → suspend, or park if an unsafe
call was under way.  endpoint away → defer.  cut twice by a crash, or an unsafe call's outcome unknown → park.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import trio

from hermesd import failpoint
from hermesd.providers.base import (
    Delta,
    ModelReply,
    ModelRequest,
    ProviderError,
    ReasoningDelta,
    Restarted,
    TextDelta,
)
from hermesd.store.records import NewMessage, NewOutbox, StepRow
from hermesd.turns import calls
from hermesd.turns.conversation import Conversation, to_json
from hermesd.turns.prompt import system_prompt
from hermesd.turns.scope import TurnScope, Workbench, persist

if TYPE_CHECKING:
    from hermesd.store.records import BegunTurn, InboxState, TurnState

log = logging.getLogger(__name__)

StopCause = Literal["user", "redirect", "shutdown"]

MAX_CRASHES = 2
REPEATED_CALLS_LIMIT = 4
FIRST_DEFERRAL_S = 5.0
LONGEST_DEFERRAL_S = 60.0
CLEANUP_S = 10.0


@dataclass(slots=True)
class TurnControl:
    """The handle by which others end a running turn."""

    scope: trio.CancelScope
    cause: StopCause | None = None

    def stop(self, cause: StopCause) -> None:
        """Cancel the turn; the first cause counts."""
        if self.cause is None:
            self.cause = cause
            self.scope.cancel()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended for now. ``not_before`` (epoch seconds) is set when it was deferred."""

    state: TurnState
    not_before: float = 0.0


class TurnStoppedError(Exception):
    """A guard ended the turn; the text is for the user."""


async def run_turn(bench: Workbench, begun: BegunTurn, control: TurnControl) -> Outcome:
    """Carry the turn to an ending. Raises nothing but trio.Cancelled from outside ``control.scope``."""
    turn = Turn(bench, begun)
    try:
        with control.scope:
            return await _to_an_ending(turn)
    except trio.Cancelled:  # from outside: the service is being stopped past its drain deadline
        with trio.move_on_after(CLEANUP_S, shield=True):
            await turn.end_early("shutdown")
        raise
    with trio.move_on_after(CLEANUP_S, shield=True):
        return await turn.end_early(control.cause or "shutdown")
    return Outcome("suspended")


async def _to_an_ending(turn: Turn) -> Outcome:
    try:
        return await turn.advance()
    except ProviderError as error:
        return await turn.give_way(error)
    except TurnStoppedError as stopped:
        return await turn.finish("failed", text=str(stopped), error=str(stopped))
    except Exception as error:  # one turn's bug must not end the others: told to its user, traceback in the log
        log.exception("turn %s failed", turn.begun.turn.id)
        sentence = f"An internal error ended this turn ({type(error).__name__}). It is in the daemon's log."
        return await turn.finish("failed", text=sentence, error=f"{type(error).__name__}: {error}")


class Turn:
    """One turn under way."""

    def __init__(self, bench: Workbench, begun: BegunTurn) -> None:
        self.bench = bench
        self.begun = begun
        self.scope = TurnScope(bench, begun.turn, begun.event)
        agent = bench.settings.config.agent
        self.talk = Conversation(begun, history_messages=agent.history_messages)
        self.input_tokens = begun.turn.input_tokens
        self.output_tokens = begun.turn.output_tokens
        self.model = ""
        self._repeats: list[str] = []
        self._last_steps: list[StepRow] = []

    async def advance(self) -> Outcome:
        """From wherever the journal stands to an ending."""
        self.scope.publish("started")
        if parked := await self._park_if_unclear():
            return parked
        failpoint.hit("turn.begun")
        agent = self.bench.settings.config.agent
        with trio.move_on_after(agent.turn_timeout_s):
            for _ in range(2 * agent.max_turns):  # a model step and its calls are one turn of the loop
                if self.talk.pending:
                    await self._run_calls()
                elif (answer := self._answer()) is not None:
                    return await self.finish("done", text=answer)
                else:
                    await self._ask_model()
            if (answer := self._answer()) is not None:
                return await self.finish("done", text=answer)
            raise TurnStoppedError(f"I stopped after {agent.max_turns} steps without an answer (agent.max_turns).")
        raise TurnStoppedError(
            f"I stopped after {agent.turn_timeout_s:.0f} s without an answer (agent.turn_timeout_s)."
        )

    def _answer(self) -> str | None:
        """The final answer, once the last message is the model's and asks for nothing more."""
        last = self.talk.own[-1]
        return (last.text or "(no answer)") if last.role == "assistant" and not self.talk.pending else None

    async def _park_if_unclear(self) -> Outcome | None:
        turn = self.begun.turn
        unknown = [step for step in self.begun.steps if step.state == "unknown"]
        if unknown:
            step = unknown[0]
            return await self.park(
                f"I was cut off while running {step.name} {step.request[:300]} and cannot know whether it was done."
            )
        if turn.crashes >= MAX_CRASHES:
            return await self.park(f"This message has stopped the daemon {turn.crashes} times; I did not try it again.")
        return None

    async def _ask_model(self) -> None:
        failpoint.hit("model.before_request")
        request = self._request()
        self.scope.partial = ""
        try:
            reply = await self.bench.provider.complete(request, on_delta=self._on_delta)
        except ProviderError as error:
            if error.kind == "overflow" and self.talk.forget_oldest_half():
                self.scope.publish(
                    "notice", text="The conversation was too long for the model; older parts were left out."
                )
                return
            raise
        failpoint.hit("model.after_reply")
        self.scope.partial = ""
        self.input_tokens += reply.usage.input_tokens
        self.output_tokens += reply.usage.output_tokens
        self.model = reply.model or request.model
        await self._journal_reply(request, _with_distinct_ids(reply, self.talk.steps))

    def _request(self) -> ModelRequest:
        config = self.bench.settings.config
        return ModelRequest(
            model=config.model.default,
            system=system_prompt(self.bench.settings, self.begun.turn, self.begun.event, self.bench.workspace),
            messages=self.talk.messages(),
            tools=self.bench.tools.definitions(),
            max_output_tokens=config.model.max_output_tokens,
            reasoning_effort=config.model.reasoning_effort,
        )

    async def _journal_reply(self, request: ModelRequest, reply: ModelReply) -> None:
        """One commit for the answer and the intents of its calls; an answer without calls is committed by finish."""
        import hashlib

        digest = hashlib.sha256(to_json(request).encode()).hexdigest()
        rows = [
            StepRow(
                turn_id=self.begun.turn.id,
                seq=self.talk.next_seq(),
                kind="model",
                name=reply.provider or self.bench.provider.name,
                state="done",
                request=f'{{"sha256":"{digest}"}}',
                result=to_json(reply),
                at=time.time(),
            )
        ]
        self.talk.add_reply(reply)
        for call in self.talk.pending:
            prepared = calls.prepare(call, self.talk.next_seq(), self.scope)
            rows.append(prepared.step(self.begun.turn.id, state="intent"))
        if reply.tool_calls:
            await self.scope.journal(rows)
            failpoint.hit("step.intent")
        else:
            self._last_steps = rows

    async def _run_calls(self) -> None:
        self._guard_against_loops()
        steps = await self.bench.store.steps(self.begun.turn.id)
        known = {step.key: step.seq for step in steps if step.kind == "tool"}
        self.scope.untrusted = self.talk.untrusted
        prepared = [
            calls.prepare(call, known[call.id] if call.id in known else self.talk.next_seq(), self.scope)
            for call in self.talk.pending
        ]
        for item, result in zip(prepared, await calls.execute_all(prepared, self.scope), strict=True):
            self.talk.add_result(item.call.id, result)

    def _guard_against_loops(self) -> None:
        signature = "\n".join(f"{call.name} {call.arguments}" for call in self.talk.pending)
        self._repeats = [*self._repeats, signature] if self._repeats[-1:] == [signature] else [signature]
        if len(self._repeats) >= REPEATED_CALLS_LIMIT:
            times = f"{REPEATED_CALLS_LIMIT} times in a row"
            raise TurnStoppedError(f"I stopped: the model asked for the same call {times} ({signature[:200]}).")

    def _on_delta(self, delta: Delta) -> None:
        if isinstance(delta, TextDelta):
            self.scope.partial += delta.text
            self.scope.publish("text", text=delta.text)
        elif isinstance(delta, ReasoningDelta):
            self.scope.publish("reasoning", text=delta.text)
        elif isinstance(delta, Restarted):
            self.scope.partial = ""
            self.scope.publish("restarted", text=delta.reason)

    # -- endings -------------------------------------------------------------------------------------------------

    async def finish(
        self,
        state: TurnState,
        *,
        text: str,
        error: str = "",
        inbox_state: InboxState | None = None,
        kind: Literal["reply", "notice"] = "reply",
    ) -> Outcome:
        """Record the ending: messages, reply and acknowledgement in one commit."""
        failpoint.hit("turn.before_finish")
        turn = self.begun.turn
        ending = f"parked:{turn.attempts}" if state == "parked" else "reply"  # a parked turn may yet get its reply
        outbox = self._outgoing(text, key=f"turn:{turn.id}:{ending}", kind=kind)
        await persist(
            lambda: self.bench.store.finish_turn(
                turn.id,
                state=state,
                inbox_state=inbox_state or ("failed" if state == "failed" else "done"),
                steps=self._last_steps,
                messages=self._messages(state, text),
                outbox=outbox,
                model=self.model,
                input_tokens=self.input_tokens,
                output_tokens=self.output_tokens,
                error=error,
            )
        )
        failpoint.hit("turn.after_finish")
        self.scope.publish("finished", text=text, state=state)
        return Outcome(state)

    def _messages(self, state: TurnState, text: str) -> list[NewMessage]:
        if state == "done":
            return self.talk.record()
        return self.talk.record(partial=self.scope.partial or f"[{text}]")

    def _outgoing(self, text: str, *, key: str, kind: Literal["reply", "notice"]) -> list[NewOutbox]:
        event = self.begun.event
        place = event.address.platform
        if not place or (not text and place != "rpc") or (kind == "notice" and place == "rpc"):
            return []
        row = NewOutbox(
            profile=event.profile,
            address=event.address,
            text=text,
            idempotency_key=key,
            turn_id=self.begun.turn.id,
            kind=kind,
        )
        return [row]

    async def park(self, why: str) -> Outcome:
        """Put the turn before its owner; nothing is re-run and nothing dropped."""
        row = self.begun.event.id
        text = f"{why}\nDecide with: hermesctl inbox show {row}, then inbox retry {row}, resume {row} or drop {row}."
        return await self.finish("parked", text=text, error=why, inbox_state="parked", kind="notice")

    async def give_way(self, error: ProviderError) -> Outcome:
        """The model cannot be had: wait for it if it may come back, otherwise say what to do."""
        if not error.temporary:
            text = f"The model cannot answer: {error.what}." + (f" {error.next_step}." if error.next_step else "")
            return await self.finish("failed", text=text, error=error.what)
        turn = self.begun.turn
        delay = max(min(FIRST_DEFERRAL_S * 2 ** min(turn.attempts - 1, 8), LONGEST_DEFERRAL_S), error.retry_after_s)
        not_before = time.time() + delay
        notice = f"The model is not reachable at the moment ({error.what}). Your message is kept and will be answered."
        outbox = self._outgoing(notice, key=f"turn:{turn.id}:deferred", kind="notice")
        await persist(
            lambda: self.bench.store.suspend_turn(
                turn.id, state="deferred", not_before=not_before, error=error.what, outbox=outbox
            )
        )
        self.scope.publish("notice", text=notice)
        return Outcome("deferred", not_before)

    async def end_early(self, cause: StopCause) -> Outcome:
        """The turn was cancelled."""
        if cause == "shutdown":
            return await self._suspend()
        if cause == "user":
            return await self.finish("cancelled", text="Stopped.", error="stopped by the user")
        return await self.finish("cancelled", text=self.scope.partial, error="interrupted by a new message")

    async def _suspend(self) -> Outcome:
        if self.scope.uncertain:
            rows = [
                step for step in await self.bench.store.steps(self.begun.turn.id) if step.seq in self.scope.uncertain
            ]
            unknown = [_as_unknown(step) for step in rows]
            await self.bench.store.journal(unknown)
            return await self.park(f"I was stopped while running {unknown[0].name} {unknown[0].request[:300]}.")
        await self.bench.store.suspend_turn(self.begun.turn.id, state="suspended")
        return Outcome("suspended")


def _with_distinct_ids(reply: ModelReply, seq: int) -> ModelReply:
    """Some endpoints count call ids from zero in every answer; the journal needs them distinct within a turn."""
    renamed = [
        msgspec.structs.replace(call, id=f"{call.id[:24] or 'call'}_{seq}_{index}")
        for index, call in enumerate(reply.tool_calls)
    ]
    return msgspec.structs.replace(reply, tool_calls=renamed)


def _as_unknown(step: StepRow) -> StepRow:
    return msgspec.structs.replace(step, state="unknown")

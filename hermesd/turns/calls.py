"""One tool call: judged, journalled before and after, run at most once unless it is safe to repeat.

A call passes the journal as intent → started → done. ``started`` is committed before an unsafe call runs, so that
after a crash it is known that it may have had its effect; safe calls go from intent to done. The first call of an
answer, if it is unsafe and the policy allows it without a question, runs at once: its journal begins with ``started``,
in the commit of the answer.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd import failpoint
from hermesd.store.records import StepRow
from hermesd.tools.base import ToolResult
from hermesd.turns.conversation import to_json
from hermesd.turns.policy import decide, describe_call
from hermesd.turns.questions import means_always, means_no, means_yes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermesd.providers.base import ToolCall
    from hermesd.store.records import Effect, StepState
    from hermesd.tools.base import Tool
    from hermesd.turns.policy import Verdict
    from hermesd.turns.scope import TurnScope

log = logging.getLogger(__name__)


class PreparedCall(msgspec.Struct):
    """A call with its place in the journal.

    ``refusal`` is set when it cannot or may not run; ``started`` when the journal has it as begun.
    """

    call: ToolCall
    seq: int
    tool: Tool | None
    arguments: Mapping[str, object]
    effect: Effect
    refusal: ToolResult | None = None
    started: bool = False

    def first_step(self, scope: TurnScope) -> StepRow:
        """Its row in the commit of the answer that asks for it."""
        return self.step(scope.turn.id, state="started" if self.started else "intent")

    def step(self, turn_id: str, *, state: StepState, result: ToolResult | None = None) -> StepRow:
        """This call's journal row in a given state."""
        return StepRow(
            turn_id=turn_id,
            seq=self.seq,
            kind="tool",
            name=self.call.name,
            state=state,
            effect=self.effect,
            key=self.call.id,
            request=self.call.arguments,
            result=to_json(result) if result else "",
            at=time.time(),
        )


def prepare(call: ToolCall, seq: int, scope: TurnScope) -> PreparedCall:
    """Look up the tool and check the arguments; what is wrong becomes a sentence for the model."""
    tool = scope.tools.get(call.name)
    if tool is None:
        refusal = ToolResult(scope.tools.unknown(call.name), is_error=True)
        return PreparedCall(call, seq, None, {}, "read_only", refusal)
    try:
        arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, object])
    except (msgspec.DecodeError, RecursionError) as error:
        refusal = ToolResult(f"the arguments are not a JSON object: {error}", is_error=True)
        return PreparedCall(call, seq, tool, {}, "read_only", refusal)
    if complaint := scope.tools.complaint(tool, arguments):
        return PreparedCall(call, seq, tool, arguments, "read_only", ToolResult(complaint, is_error=True))
    return PreparedCall(call, seq, tool, arguments, tool.effect(arguments))


async def execute(prepared: PreparedCall, scope: TurnScope) -> ToolResult:
    """Judge and run the call; the result is journalled when this returns, and until then the call is uncertain."""
    scope.publish("tool", name=prepared.call.name, text=prepared.call.arguments)
    result = None if prepared.started else prepared.refusal or await _judge(prepared, scope)
    if result is None:
        result = await _run(prepared, scope)
        failpoint.hit("step.ran")
    await scope.journal([prepared.step(scope.turn.id, state="done", result=result)])
    scope.uncertain.pop(prepared.seq, None)
    failpoint.hit("step.result")
    scope.publish("tool_result", name=prepared.call.name, text=result.text[:2000], is_error=result.is_error)
    return result


def start_with_intent(prepared: PreparedCall, scope: TurnScope) -> None:
    """Let the journal begin with ``started`` if the call is unsafe and needs nobody's word.

    Only for the call that is run next, with nothing awaited between that commit and its run.
    """
    if prepared.effect == "unsafe" and prepared.refusal is None:
        prepared.started = _verdict(prepared, scope).decision == "allow"


def _verdict(prepared: PreparedCall, scope: TurnScope) -> Verdict:
    return decide(
        prepared.call.name,
        prepared.arguments,
        prepared.effect,
        scope.config.policy,
        attended=scope.attended,
        untrusted_in_window=scope.untrusted,
        approvals=scope.approvals,
    )


async def _judge(prepared: PreparedCall, scope: TurnScope) -> ToolResult | None:
    """None when the call may run, otherwise the refusal as the model reads it."""
    name = prepared.call.name
    verdict = _verdict(prepared, scope)
    if verdict.decision == "allow":
        return None
    if verdict.decision == "deny":
        return ToolResult(f"not permitted: {verdict.reason}", is_error=True)
    if not scope.attended:
        return ToolResult(f"not permitted: {verdict.reason}, and nobody can be asked here", is_error=True)
    text = f"Allow this call?\n{describe_call(name, prepared.arguments)}\n({verdict.reason})"
    answer = await scope.put_question("approve", f"{prepared.seq}:approve", text, ["yes", "no", "always"])
    if answer is not None and means_always(answer):
        scope.approve_always(name, prepared.arguments)
    if answer is not None and means_yes(answer):
        return None
    return ToolResult(f"not permitted: {_refusal(answer)}", is_error=True)


def _refusal(answer: str | None) -> str:
    """Why there is no approval. What is neither yes nor no is passed on: it was said for a reason."""
    if answer is None:
        return "nobody answered in time"
    return "the user said no" if means_no(answer) else f"instead of yes or no the user answered: {answer}"


async def _run(prepared: PreparedCall, scope: TurnScope) -> ToolResult:
    assert prepared.tool is not None
    if prepared.effect == "unsafe":
        started = prepared.step(scope.turn.id, state="started")
        if not prepared.started:
            await scope.journal([started])
        failpoint.hit("step.started")
        scope.uncertain[prepared.seq] = started
    context = scope.tool_context(prepared.call.id, key=f"{prepared.seq}:ask")
    try:
        return await prepared.tool.run(prepared.arguments, context)
    except Exception as error:  # a tool's bug must not end the turn: the model is told and the log has the traceback
        log.exception("tool %s raised", prepared.call.name)
        return ToolResult(f"internal error in {prepared.call.name}: {type(error).__name__}: {error}", is_error=True)


async def execute_all(
    prepared: list[PreparedCall], scope: TurnScope, *, on_result: Callable[[ToolCall, ToolResult], None]
) -> None:
    """Run the calls of one answer: side by side when all only read, otherwise one after another.

    ``on_result`` is told of each as soon as it has ended, so that a turn stopped between two keeps the first.
    """

    async def one(item: PreparedCall) -> None:
        on_result(item.call, await execute(item, scope))

    if any(item.effect != "read_only" for item in prepared):
        for item in prepared:
            await one(item)
        return
    async with trio.open_nursery() as nursery:
        for item in prepared:
            nursery.start_soon(one, item)

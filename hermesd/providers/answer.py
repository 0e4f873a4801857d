"""An answer as it grows: bounded, streamed on as deltas, and turned into a ModelReply once it is complete."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from hermesd.providers.base import ModelReply, ReasoningDelta, TextDelta, ToolCall, Usage
from hermesd.providers.failures import malformed
from hermesd.providers.recovery import TextGate, new_call_id, recover_tool_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.providers.base import Delta, ModelRequest, ReasoningBlock, StopReason

MAX_ANSWER_CHARS = 4 * 1024 * 1024
MAX_TOOL_CALLS = 128


class PartialCall:
    """A tool call whose arguments are still coming in."""

    def __init__(self, call_id: str, name: str) -> None:
        self.id = call_id
        self.name = name
        self.arguments = StringIO()


class Answer:
    """Collects one attempt's answer. More than ``max_chars`` of it, or too many calls, raise AttemptError."""

    def __init__(
        self, request: ModelRequest, on_delta: Callable[[Delta], None], *, where: str, max_chars: int = MAX_ANSWER_CHARS
    ) -> None:
        self.calls: list[PartialCall] = []
        self._offered = frozenset(tool.name for tool in request.tools)
        self._on_delta = on_delta
        self._where = where
        self._left = max_chars
        self._max_chars = max_chars
        self._text = StringIO()
        self._gate = TextGate(lambda text: on_delta(TextDelta(text)), tools_offered=bool(request.tools))

    def add_text(self, text: str) -> None:
        """More of the answer."""
        if text:
            self._spend(len(text))
            self._text.write(text)
            self._gate.feed(text)

    def add_reasoning(self, text: str) -> None:
        """More of the thinking; the caller keeps what must be handed back."""
        if text:
            self._spend(len(text))
            self._on_delta(ReasoningDelta(text))

    def add_call(self, call_id: str, name: str) -> PartialCall:
        """A tool call begins."""
        if len(self.calls) >= MAX_TOOL_CALLS:
            raise malformed(f"the answer has more than {MAX_TOOL_CALLS} tool calls", where=self._where, retry=False)
        call = PartialCall(call_id, name)
        self.calls.append(call)
        return call

    def add_arguments(self, call: PartialCall, text: str) -> None:
        """More of a call's arguments."""
        self._spend(len(text))
        call.arguments.write(text)

    def reply(
        self, *, stop: StopReason, usage: Usage, model: str, provider: str, reasoning: list[ReasoningBlock]
    ) -> ModelReply:
        """The complete answer. A call without a name is not the protocol; one without arguments has ``{}``."""
        text = self._text.getvalue()
        calls = self._finished_calls()
        if not calls and stop in ("stop", "tool_calls"):
            said, calls = recover_tool_calls(text, self._offered)
            if calls:
                text = said
                self._gate.drop()
        self._gate.release()
        if calls and stop == "stop":
            stop = "tool_calls"
        elif not calls and stop == "tool_calls":
            stop = "stop"
        return ModelReply(
            text=text, tool_calls=calls, reasoning=reasoning, stop=stop, usage=usage, model=model, provider=provider
        )

    def _finished_calls(self) -> list[ToolCall]:
        seen: set[str] = set()
        finished = []
        for call in self.calls:
            if not call.name:
                raise malformed("a tool call came without a name", where=self._where)
            call_id = call.id if call.id and call.id not in seen else new_call_id()
            seen.add(call_id)
            finished.append(ToolCall(id=call_id, name=call.name, arguments=call.arguments.getvalue() or "{}"))
        return finished

    def _spend(self, chars: int) -> None:
        self._left -= chars
        if self._left < 0:
            raise malformed(
                f"the answer is longer than {self._max_chars} characters and was given up",
                where=self._where,
                retry=False,
            )

"""What a model is shown: the session's history, then this turn as far as its journal goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.providers.base import Message, ModelReply, ToolCall
from hermesd.store.records import NewMessage
from hermesd.tools.base import ToolResult
from hermesd.turns.prompt import FENCE, UNTRUSTED_PARTS, mark_untrusted

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hermesd.store.records import BegunTurn, StepRow

_message = msgspec.json.Decoder(Message)
_reply = msgspec.json.Decoder(ModelReply)
_result = msgspec.json.Decoder(ToolResult)

STOPPED_CALL = "the turn was stopped before this call had a result"
CUT_CALL = "the turn was stopped while this call was running: whether it took effect is not known"


def to_json(value: object) -> str:
    """Compact JSON text of a record."""
    return msgspec.json.encode(value).decode()


class Conversation:
    """The messages of one turn under way.

    ``replies`` counts the model's answers, those before a restart included; ``seqs`` holds the journal position of
    each tool call by its id. Results may come in any order; they are shown in the order of the calls.
    """

    def __init__(self, begun: BegunTurn, *, history_messages: int) -> None:
        self.history = _whole_exchanges([_message.decode(row.body) for row in begun.history][-history_messages:])
        text = begun.event.text
        outside = begun.event.untrusted or UNTRUSTED_PARTS in begun.event.meta
        self.untrusted = outside or any(item.text.startswith(FENCE) for item in self.history)
        self.replies = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.model = ""
        self.seqs: dict[str, int] = {}
        self.last_reply: ModelReply | None = None
        self._closed = [Message(role="user", text=mark_untrusted(text) if begun.event.untrusted else text)]
        self._results: dict[str, Message] = {}
        self._next_seq = 0
        for step in begun.steps:
            self._replay(step)

    def _replay(self, step: StepRow) -> None:
        self._next_seq = max(self._next_seq, step.seq + 1)
        if step.kind == "tool":
            self.seqs[step.key] = step.seq
        if step.state != "done":
            return
        if step.kind == "model":
            self.add_reply(_reply.decode(step.result))
        else:
            self.add_result(step.key, _result.decode(step.result))

    @property
    def pending(self) -> list[ToolCall]:
        """Calls of the last reply that have no result yet."""
        calls = self.last_reply.tool_calls if self.last_reply else []
        return [call for call in calls if call.id not in self._results]

    @property
    def answer(self) -> ModelReply | None:
        """The model's last reply, if it asked for nothing."""
        return self.last_reply if self.last_reply and not self.last_reply.tool_calls else None

    def next_seq(self) -> int:
        """Reserve the next journal position."""
        self._next_seq += 1
        return self._next_seq - 1

    def seq_of(self, call: ToolCall) -> int:
        """The call's journal position, reserved when it has none yet."""
        if call.id not in self.seqs:
            self.seqs[call.id] = self.next_seq()
        return self.seqs[call.id]

    def add_reply(self, reply: ModelReply) -> None:
        """The model has spoken; its calls are pending until each has a result."""
        self._closed += self._result_messages()
        self._results = {}
        self._closed.append(
            Message(role="assistant", text=reply.text, tool_calls=reply.tool_calls, reasoning=reply.reasoning)
        )
        self.last_reply = reply
        self.replies += 1
        self.input_tokens += reply.usage.input_tokens
        self.output_tokens += reply.usage.output_tokens
        self.model = reply.model or self.model

    def add_result(self, call_id: str, result: ToolResult) -> None:
        """A call has ended."""
        text = mark_untrusted(result.text) if result.untrusted else result.text
        self.untrusted = self.untrusted or result.untrusted
        self._results[call_id] = Message(role="tool", text=text, tool_call_id=call_id, is_error=result.is_error)

    def _result_messages(self) -> list[Message]:
        calls = self.last_reply.tool_calls if self.last_reply else []
        return [self._results[call.id] for call in calls if call.id in self._results]

    def messages(self) -> list[Message]:
        """What goes to the model now."""
        return [*self.history, *self._closed, *self._result_messages()]

    def forget_oldest_half(self) -> bool:
        """Make the prompt shorter after an overflow; False when there is no history left to drop."""
        if not self.history:
            return False
        self.history = _whole_exchanges(self.history[len(self.history) // 2 + 1 :])
        return True

    def record(self, *, partial: str = "", cut: Collection[int] = ()) -> list[NewMessage]:
        """The turn's messages for the session, well-formed even when it was stopped: every call has a result.

        ``cut`` names the journal positions of calls that may have taken effect; ``partial`` is said last.
        """
        for call in self.pending:
            text = CUT_CALL if self.seqs.get(call.id) in cut else STOPPED_CALL
            self.add_result(call.id, ToolResult(text, is_error=True))
        messages = [*self._closed, *self._result_messages()]
        if partial:
            messages.append(Message(role="assistant", text=partial))
        return [NewMessage(role=item.role, text=_readable(item), body=to_json(item)) for item in messages]


def _readable(message: Message) -> str:
    if message.text or not message.tool_calls:
        return message.text
    return "\n".join(f"[{call.name} {call.arguments}]" for call in message.tool_calls)


def _whole_exchanges(messages: Sequence[Message]) -> list[Message]:
    """Cut the beginning so that the first message is a user's: no orphaned tool results."""
    for index, message in enumerate(messages):
        if message.role == "user":
            return list(messages[index:])
    return []

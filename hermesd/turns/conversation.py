"""What a model is shown: the session's history, then this turn as far as its journal goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from hermesd.providers.base import Message, ModelReply, ToolCall
from hermesd.store.records import NewMessage
from hermesd.tools.base import ToolResult
from hermesd.turns.prompt import FENCE, mark_untrusted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermesd.store.records import BegunTurn, StepRow

_message = msgspec.json.Decoder(Message)
_reply = msgspec.json.Decoder(ModelReply)
_result = msgspec.json.Decoder(ToolResult)

STOPPED_CALL = ToolResult("not run: the turn was stopped before this call", is_error=True)


def to_json(value: object) -> str:
    """Compact JSON text of a record."""
    return msgspec.json.encode(value).decode()


class Conversation:
    """The messages of one turn under way. ``steps`` is the number of journal rows used so far (the next ``seq``)."""

    def __init__(self, begun: BegunTurn, *, history_messages: int) -> None:
        self.history = _whole_exchanges([_message.decode(row.body) for row in begun.history][-history_messages:])
        text = begun.event.text
        self.own = [Message(role="user", text=mark_untrusted(text) if begun.event.untrusted else text)]
        self.steps = 0
        self.pending: list[ToolCall] = []
        self.untrusted = begun.event.untrusted or any(item.text.startswith(FENCE) for item in self.history)
        self.last_reply: ModelReply | None = None
        for step in begun.steps:
            self._replay(step)

    def _replay(self, step: StepRow) -> None:
        self.steps = max(self.steps, step.seq + 1)
        if step.state != "done":
            return
        if step.kind == "model":
            self.add_reply(_reply.decode(step.result))
        else:
            self.add_result(step.key, _result.decode(step.result))

    def next_seq(self) -> int:
        """Reserve the next journal position."""
        self.steps += 1
        return self.steps - 1

    def add_reply(self, reply: ModelReply) -> None:
        """The model has spoken; its calls are pending until each has a result."""
        self.last_reply = reply
        self.pending = list(reply.tool_calls)
        self.own.append(
            Message(role="assistant", text=reply.text, tool_calls=reply.tool_calls, reasoning=reply.reasoning)
        )

    def add_result(self, call_id: str, result: ToolResult) -> None:
        """A call has ended."""
        self.pending = [call for call in self.pending if call.id != call_id]
        text = mark_untrusted(result.text) if result.untrusted else result.text
        self.untrusted = self.untrusted or result.untrusted
        self.own.append(Message(role="tool", text=text, tool_call_id=call_id, is_error=result.is_error))

    def messages(self) -> list[Message]:
        """What goes to the model now."""
        return [*self.history, *self.own]

    def forget_oldest_half(self) -> bool:
        """Make the prompt shorter after an overflow; False when there is no history left to drop."""
        if not self.history:
            return False
        self.history = _whole_exchanges(self.history[len(self.history) // 2 + 1 :])
        return True

    def record(self, *, partial: str = "") -> list[NewMessage]:
        """The turn's messages for the session, well-formed even when it was cut: every call has a result."""
        messages = list(self.own)
        messages += [
            Message(role="tool", text=STOPPED_CALL.text, tool_call_id=call.id, is_error=True) for call in self.pending
        ]
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

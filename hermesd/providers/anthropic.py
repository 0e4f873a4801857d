"""Anthropic messages, streamed: https://docs.anthropic.com/en/docs/build-with-claude/streaming."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.providers.answer import Answer
from hermesd.providers.anthropic_request import ORIGIN, encode_request
from hermesd.providers.base import ReasoningBlock, Usage
from hermesd.providers.failures import broken, from_stream, malformed

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.providers.answer import PartialCall
    from hermesd.providers.base import Delta, ModelReply, ModelRequest, StopReason
    from hermesd.providers.http import Endpoint
    from hermesd.providers.streaming import SseEvent

_STOP: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "refusal",
}


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _Block(msgspec.Struct):
    type: str = ""
    id: str = ""
    name: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    data: str = ""
    input: dict[str, Any] | None = None  # Any: a tool's arguments


class _Delta(msgspec.Struct):
    type: str = ""
    text: str = ""
    partial_json: str = ""
    thinking: str = ""
    signature: str = ""
    stop_reason: str | None = None


class _Message(msgspec.Struct):
    model: str = ""
    usage: _Usage | None = None
    content: list[_Block] | None = None
    stop_reason: str | None = None


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Message | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: Any = None  # whatever the server says


_event_decoder = msgspec.json.Decoder(_Event)
_message_decoder = msgspec.json.Decoder(_Message)


class AnthropicProvider:
    """One model behind one Anthropic-style endpoint. ``model`` is used when the request names none."""

    def __init__(self, endpoint: Endpoint, *, model: str, name: str = "anthropic") -> None:
        self.name = name
        self.model = model
        self._endpoint = endpoint

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        """One attempt. Raises AttemptError."""
        model = request.model or self.model
        reader = _Reader(Answer(request, on_delta, where=self._endpoint.where), self._endpoint)
        await self._endpoint.post(encode_request(request, model=model), reader)
        return reader.reply(model=model, provider=self.name)

    async def aclose(self) -> None:
        """Close connections; idempotent."""
        await self._endpoint.aclose()


class _Thought:
    """A thinking block whose text and signature are still coming in."""

    def __init__(self, block: _Block) -> None:
        self._text = StringIO()
        self._signature = StringIO()
        self._redacted = block.data
        self.add(block.thinking, block.signature)

    def add(self, text: str, signature: str) -> None:
        self._text.write(text)
        self._signature.write(signature)

    def finished(self) -> ReasoningBlock:
        return ReasoningBlock(
            text=self._text.getvalue(),
            signature=self._signature.getvalue(),
            redacted=self._redacted,
            origin=ORIGIN,
        )


class _Reader:
    """Events in, answer out; see ``http.Reader``."""

    def __init__(self, answer: Answer, endpoint: Endpoint) -> None:
        self._answer = answer
        self._where = endpoint.where
        self._secret = endpoint.secret
        self._stop = ""
        self._usage = _Usage()
        self._model = ""
        self._thoughts: dict[int, _Thought] = {}
        self._calls: dict[int, PartialCall] = {}

    def event(self, event: SseEvent) -> bool:
        try:
            data = _event_decoder.decode(event.data)
        except (msgspec.DecodeError, RecursionError):
            raise malformed("an event of the stream is not a message event", where=self._where) from None
        if data.type == "message_stop":
            if not self._stop:
                raise broken("the stream ended without a stop reason", where=self._where)
            return True
        if data.type == "error":
            raise from_stream(data.error, where=self._where, secret=self._secret)
        self._take(data)
        return False

    def whole(self, body: bytes) -> None:
        try:
            message = _message_decoder.decode(body)
        except (msgspec.DecodeError, RecursionError):
            raise malformed("the answer is not a message", where=self._where) from None
        if not message.stop_reason:
            raise broken("the answer has no stop reason", where=self._where)
        self._begin(message)
        for index, block in enumerate(message.content or ()):
            self._begin_block(index, block)
        self._stop = message.stop_reason

    def end(self) -> None:
        raise broken("the stream ended before message_stop", where=self._where)

    def reply(self, *, model: str, provider: str) -> ModelReply:
        usage = self._usage
        cached = usage.cache_read_input_tokens or 0
        fresh = (usage.input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
        return self._answer.reply(
            stop=_STOP.get(self._stop, "stop"),
            usage=Usage(input_tokens=fresh + cached, output_tokens=usage.output_tokens or 0, cached_tokens=cached),
            model=self._model or model,
            provider=provider,
            reasoning=[thought.finished() for thought in self._thoughts.values()],
        )

    def _take(self, data: _Event) -> None:
        """Anything unknown (``ping``, event types to come) is passed over, as the API asks clients to."""
        if data.type == "message_start" and data.message is not None:
            self._begin(data.message)
        elif data.type == "content_block_start" and data.content_block is not None:
            self._begin_block(data.index, data.content_block)
        elif data.type == "content_block_delta" and data.delta is not None:
            self._grow_block(data.index, data.delta)
        elif data.type == "message_delta":
            self._count(data.usage)
            self._stop = (data.delta.stop_reason if data.delta else None) or self._stop

    def _begin(self, message: _Message) -> None:
        self._model = message.model
        self._count(message.usage)

    def _count(self, usage: _Usage | None) -> None:
        """Counts are cumulative: the last one given holds."""
        for field in _Usage.__struct_fields__ if usage is not None else ():
            value = getattr(usage, field)
            if value is not None:
                setattr(self._usage, field, value)

    def _begin_block(self, index: int, block: _Block) -> None:
        if block.type == "text":
            self._answer.add_text(block.text)
        elif block.type == "tool_use":
            call = self._calls[index] = self._answer.add_call(block.id, block.name)
            if block.input:
                self._answer.add_arguments(call, msgspec.json.encode(block.input).decode())
        elif block.type in ("thinking", "redacted_thinking"):
            self._thoughts[index] = _Thought(block)
            self._answer.add_reasoning(block.thinking)

    def _grow_block(self, index: int, delta: _Delta) -> None:
        if delta.type == "text_delta":
            self._answer.add_text(delta.text)
        elif delta.type == "input_json_delta" and index in self._calls:
            self._answer.add_arguments(self._calls[index], delta.partial_json)
        elif delta.type in ("thinking_delta", "signature_delta") and index in self._thoughts:
            self._thoughts[index].add(delta.thinking, delta.signature)
            self._answer.add_reasoning(delta.thinking)

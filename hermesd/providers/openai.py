"""OpenAI-compatible chat completions, streamed.

https://platform.openai.com/docs/api-reference/chat-streaming, with the additions in use elsewhere:
``reasoning_content`` (DeepSeek, llama.cpp) and ``reasoning`` (OpenRouter, vLLM), errors inside the stream, tool calls
without an index.
"""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.providers.answer import Answer
from hermesd.providers.base import ReasoningBlock, Usage
from hermesd.providers.failures import broken, from_stream, malformed
from hermesd.providers.openai_request import encode_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.providers.answer import PartialCall
    from hermesd.providers.base import Delta, ModelReply, ModelRequest, StopReason
    from hermesd.providers.http import Endpoint
    from hermesd.providers.streaming import SseEvent

_STOP: dict[str, StopReason] = {
    "stop": "stop",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "length": "length",
    "content_filter": "refusal",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # Any: some servers send the object itself


class _CallDelta(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: str | list[dict[str, Any]] | None = None  # Any: content parts of several kinds
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _Choice(msgspec.Struct):
    index: int = 0
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None

    def neutral(self) -> Usage:
        prompt, completion = self.prompt_tokens_details, self.completion_tokens_details
        return Usage(
            input_tokens=self.prompt_tokens or 0,
            output_tokens=self.completion_tokens or 0,
            cached_tokens=(prompt and prompt.cached_tokens) or 0,
            reasoning_tokens=(completion and completion.reasoning_tokens) or 0,
        )


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    model: str | None = None
    error: Any = None  # an object or a string, whatever the server likes


_decoder = msgspec.json.Decoder(_Chunk, strict=False)


class OpenAIProvider:
    """One model behind one OpenAI-compatible endpoint. ``model`` is used when the request names none."""

    def __init__(self, endpoint: Endpoint, *, model: str, name: str = "openai") -> None:
        self.name = name
        self.model = model
        self._endpoint = endpoint
        self._terminator = _Terminator()

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        """One attempt. Raises AttemptError."""
        model = request.model or self.model
        reader = _Reader(Answer(request, on_delta, where=self._endpoint.where), self._endpoint, self._terminator)
        await self._endpoint.post(encode_request(request, model=model, url=self._endpoint.url), reader)
        return reader.reply(model=model, provider=self.name)

    async def aclose(self) -> None:
        """Close connections; idempotent."""
        await self._endpoint.aclose()


class _Terminator:
    """Whether this endpoint ends its streams with ``[DONE]``.

    Most do, and then a stream without it is cut off and asked again, even when a finish reason came. One that never
    does is believed from its third such answer on.
    """

    def __init__(self) -> None:
        self._seen = False
        self._missing = 0

    def arrived(self) -> None:
        self._seen = True

    def may_be_missing(self) -> bool:
        self._missing += 1
        return not self._seen and self._missing > 2


class _Reader:
    """Chunks in, answer out; see ``http.Reader``."""

    def __init__(self, answer: Answer, endpoint: Endpoint, terminator: _Terminator) -> None:
        self._answer = answer
        self._where = endpoint.where
        self._secret = endpoint.secret
        self._terminator = terminator
        self._finish = ""
        self._refused = False
        self._usage = Usage()
        self._model = ""
        self._reasoning = StringIO()
        self._reasoning_field = ""
        self._by_index: dict[int, PartialCall] = {}

    def event(self, event: SseEvent) -> bool:
        if event.data.strip() == b"[DONE]":
            self._terminator.arrived()
            self._require_finish()
            return True
        self._take(event.data)
        return False

    def whole(self, body: bytes) -> None:
        self._take(body)
        self._require_finish()

    def end(self) -> None:
        self._require_finish()
        if not self._terminator.may_be_missing():
            raise broken("the stream ended before its terminator", where=self._where)

    def reply(self, *, model: str, provider: str) -> ModelReply:
        reasoning = self._reasoning.getvalue()
        stop = _STOP.get(self._finish, "stop")
        return self._answer.reply(
            stop="refusal" if self._refused else stop,
            usage=self._usage,
            model=self._model or model,
            provider=provider,
            reasoning=[ReasoningBlock(text=reasoning, origin=self._reasoning_field)] if reasoning else [],
        )

    def _require_finish(self) -> None:
        if not self._finish:
            raise broken("the stream ended without a finish reason", where=self._where)

    def _take(self, data: bytes) -> None:
        try:
            chunk = _decoder.decode(data)
        except (msgspec.DecodeError, RecursionError):
            raise malformed("a chunk of the stream is not a completion chunk", where=self._where) from None
        if chunk.error:
            raise from_stream(chunk.error, where=self._where, secret=self._secret)
        if chunk.usage is not None:
            self._usage = chunk.usage.neutral()
        self._model = self._model or chunk.model or ""
        for choice in chunk.choices or ():
            if choice.index == 0:
                self._choice(choice)

    def _choice(self, choice: _Choice) -> None:
        delta = choice.delta or choice.message
        if delta is not None:
            self._think(delta)
            self._answer.add_text(_text_of(delta.content))
            if delta.refusal:
                self._refused = True
                self._answer.add_text(delta.refusal)
            for call in delta.tool_calls or ():
                self._call(call)
        if choice.finish_reason == "error":
            raise broken("the endpoint broke off its answer with an error", where=self._where)
        self._finish = choice.finish_reason or self._finish

    def _think(self, delta: _Delta) -> None:
        field = "reasoning_content" if delta.reasoning_content else "reasoning"
        text = delta.reasoning_content or delta.reasoning
        if text:
            self._reasoning_field = self._reasoning_field or field
            self._reasoning.write(text)
            self._answer.add_reasoning(text)

    def _call(self, delta: _CallDelta) -> None:
        function = delta.function or _Function()
        call = self._slot(delta, function.name or "")
        call.name = call.name or function.name or ""
        call.id = call.id or delta.id or ""
        arguments = function.arguments
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        if arguments:
            self._answer.add_arguments(call, arguments)

    def _slot(self, delta: _CallDelta, name: str) -> PartialCall:
        """The call this delta belongs to: by index; but another id with a name begins another call (Gemini)."""
        begun = len(self._answer.calls)
        index = delta.index if delta.index is not None else (begun if name else max(0, begun - 1))
        call = self._by_index.get(index)
        if call is None or (name and delta.id and call.id and delta.id != call.id):
            call = self._by_index[index] = self._answer.add_call(delta.id or "", name)
        return call


def _text_of(content: str | list[dict[str, Any]] | None) -> str:  # Any: content parts of several kinds
    if isinstance(content, list):
        return "".join(str(part["text"]) for part in content if isinstance(part.get("text"), str))
    return content or ""

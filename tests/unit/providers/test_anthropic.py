"""The Anthropic wire format: recorded streams in, requests out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest

from hermesd.providers.anthropic import AnthropicProvider
from hermesd.providers.anthropic_request import encode_request
from hermesd.providers.base import (
    Delta,
    Message,
    ModelReply,
    ModelRequest,
    ReasoningBlock,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolDefinition,
)
from hermesd.providers.failures import AttemptError
from hermesd.providers.http import Endpoint
from tests.unit.providers.replay import Part, replay, response, sse

ASK = ModelRequest(model="m", system="", messages=[Message(role="user", text="hi")])
START = {"type": "message_start", "message": {"model": "claude-x", "usage": {"input_tokens": 7, "output_tokens": 1}}}
STOP = {"type": "message_stop"}


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def grow(index: int, kind: str, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def finish(reason: str | None, **usage: int) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


@asynccontextmanager
async def asking(*recordings: list[Part] | bytes) -> AsyncIterator[AnthropicProvider]:
    """A provider whose endpoint plays recorded responses."""
    async with (
        replay(*recordings) as server,
        aclosing(AnthropicProvider(Endpoint(server.url, headers={}), model="m")) as made,
    ):
        yield made


async def answered(*events: object) -> tuple[ModelReply, list[Delta]]:
    deltas: list[Delta] = []
    async with asking(response(sse(*events))) as provider:
        reply = await provider.complete(ASK, on_delta=deltas.append)
    return reply, deltas


async def test_a_stream_with_thinking_text_and_calls_is_put_together() -> None:
    """Blocks grow by index, unknown events and pings are passed over, counts are cumulative."""
    reply, deltas = await answered(
        START,
        begin(0, type="thinking", thinking=""),
        grow(0, "thinking_delta", thinking="hm"),
        grow(0, "thinking_delta", thinking="m"),
        grow(0, "signature_delta", signature="sig=="),
        {"type": "content_block_stop", "index": 0},
        begin(1, type="redacted_thinking", data="opaque"),
        {"type": "ping"},
        begin(2, type="text", text=""),
        grow(2, "text_delta", text="ok"),
        {"type": "an_event_of_the_future", "index": 2},
        begin(3, type="tool_use", id="t1", name="f", input={}),
        begin(4, type="tool_use", id="t2", name="g", input={}),
        grow(3, "input_json_delta", partial_json='{"n"'),
        grow(3, "input_json_delta", partial_json=":1}"),
        finish("tool_use", output_tokens=9, cache_read_input_tokens=100, cache_creation_input_tokens=3),
        STOP,
    )
    assert reply.text == "ok"
    assert reply.tool_calls == [ToolCall("t1", "f", '{"n":1}'), ToolCall("t2", "g", "{}")]
    assert reply.reasoning == [
        ReasoningBlock(text="hmm", signature="sig==", origin="anthropic"),
        ReasoningBlock(redacted="opaque", origin="anthropic"),
    ]
    assert deltas == [ReasoningDelta("hm"), ReasoningDelta("m"), TextDelta("ok")]
    assert (reply.usage.input_tokens, reply.usage.cached_tokens, reply.usage.output_tokens) == (110, 100, 9)
    assert (reply.stop, reply.model) == ("tool_calls", "claude-x")


async def test_thinking_goes_back_exactly_as_it_came() -> None:
    """The API checks its signature; it stands before the text and the calls of its message."""
    reply, _ = await answered(
        START,
        begin(0, type="thinking", thinking="", signature=""),
        grow(0, "thinking_delta", thinking=" über\n"),
        grow(0, "signature_delta", signature="s1"),
        begin(1, type="redacted_thinking", data="opaque"),
        begin(2, type="tool_use", id="t1", name="f"),
        finish("tool_use"),
        STOP,
    )
    message = Message(role="assistant", text="", tool_calls=reply.tool_calls, reasoning=reply.reasoning)
    sent = encoded([Message(role="user", text="u"), message])["messages"]
    assert sent[1]["content"] == [
        {"type": "thinking", "thinking": " über\n", "signature": "s1"},
        {"type": "redacted_thinking", "data": "opaque"},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
    ]


@pytest.mark.parametrize(
    ("events", "kind", "retry"),
    [
        ([START, begin(0, type="text", text="half")], "unavailable", True),
        ([START, begin(0, type="text", text="all"), finish("end_turn")], "unavailable", True),
        ([START, STOP], "unavailable", True),
        ([START, finish(None), STOP], "unavailable", True),
        ([START, {"type": "error", "error": {"type": "overloaded_error", "message": "m"}}], "unavailable", True),
        ([START, {"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}], "refused", False),
        ([b'{"type":"content_bl'], "malformed", True),
        ([b"[]"], "malformed", True),
    ],
)
async def test_a_broken_stream_is_never_an_answer(events: list[object], kind: str, retry: bool) -> None:
    """Only message_stop after a stop reason ends one."""
    with pytest.RaisesGroup(AttemptError) as caught:
        await answered(*events)
    error = caught.value.exceptions[0]
    assert isinstance(error, AttemptError)
    assert (error.kind, error.retry) == (kind, retry)


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("end_turn", "stop"), ("max_tokens", "length"), ("refusal", "refusal"), ("one_of_the_future", "stop")],
)
async def test_stop_reasons_are_translated(reason: str, stop: str) -> None:
    """An unknown one is an ordinary end."""
    reply, _ = await answered(START, begin(0, type="text", text="x"), finish(reason), STOP)
    assert reply.stop == stop


async def test_an_answer_in_one_document_is_taken_too() -> None:
    """An endpoint may not stream."""
    content = [{"type": "text", "text": "hello"}, {"type": "tool_use", "id": "t", "name": "f", "input": {"n": 1}}]
    body = msgspec.json.encode({"type": "message", "model": "x", "content": content, "stop_reason": "tool_use"})
    async with asking(response(body, content_type="application/json")) as provider:
        reply = await provider.complete(ASK, on_delta=lambda _: None)
    assert (reply.text, reply.tool_calls) == ("hello", [ToolCall("t", "f", '{"n":1}')])


def encoded(messages: list[Message], **fields: Any) -> dict[str, Any]:
    model = fields.pop("model", "claude-sonnet-4-6")
    body = msgspec.json.decode(
        encode_request(ModelRequest(model="", system="S", messages=messages, **fields), model=model)
    )
    assert isinstance(body, dict)
    return body


def test_results_of_one_round_stand_in_one_user_message() -> None:
    """Followed by what the user said meanwhile; the last block carries the cache mark."""
    body = encoded(
        [
            Message(role="user", text="u"),
            Message(role="assistant", text="a", tool_calls=[ToolCall("x:1", "f", "{}"), ToolCall("y", "g", "oops")]),
            Message(role="tool", text="1", tool_call_id="x:1"),
            Message(role="tool", text="2", tool_call_id="y", is_error=True),
            Message(role="user", text="and?"),
        ],
        tools=[ToolDefinition(name="f", description="d", parameters={"type": "object"})],
    )
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "tool_use", "id": "x_1", "name": "f", "input": {}},
        {"type": "tool_use", "id": "y", "name": "g", "input": {"malformed_arguments": "oops"}},
    ]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "x_1", "content": "1"},
        {"type": "tool_result", "tool_use_id": "y", "content": "2", "is_error": True},
        {"type": "text", "text": "and?", "cache_control": {"type": "ephemeral"}},
    ]
    assert body["tools"] == [{"name": "f", "description": "d", "input_schema": {"type": "object"}}]
    assert body["system"][0]["text"] == "S"
    assert body["max_tokens"] > 0


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [Message(role="user", text="  ")],
        [Message(role="assistant", text="a")],
        [Message(role="assistant", text=""), Message(role="user", text="u"), Message(role="assistant", text="")],
        [Message(role="system", text="s"), Message(role="user", text="u"), Message(role="user", text="v")],
    ],
)
def test_turns_alternate_begin_with_the_user_and_hold_no_empty_text(messages: list[Message]) -> None:
    """Whatever a trimmed history looks like, the API gets what it accepts."""
    turns = encoded(messages)["messages"]
    assert [turn["role"] for turn in turns] == (["user", "assistant"] * len(turns))[: len(turns)]
    assert turns
    assert all(turn["content"] and all(block.get("text", "x").strip() for block in turn["content"]) for turn in turns)


def test_a_system_message_within_the_conversation_joins_the_system_prompt() -> None:
    """The format has no such role."""
    body = encoded([Message(role="user", text="u"), Message(role="system", text="T")])
    assert body["system"][0]["text"] == "S\n\nT"


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("claude-opus-4-7", {"type": "adaptive"}),
        ("claude-sonnet-4-6", {"type": "adaptive"}),
        ("claude-sonnet-5", {"type": "adaptive"}),
        ("claude-sonnet-4-5-20250929", {"type": "enabled", "budget_tokens": 8192}),
        ("claude-opus-4-20250514", {"type": "enabled", "budget_tokens": 8192}),
        ("claude-3-7-sonnet-latest", {"type": "enabled", "budget_tokens": 8192}),
    ],
)
def test_effort_is_said_as_the_model_generation_understands_it(model: str, thinking: dict[str, Any]) -> None:
    """Newer models refuse a budget, older ones know nothing else; the answer must fit beside the budget."""
    body = encoded([Message(role="user", text="u")], model=model, reasoning_effort="medium", max_output_tokens=100)
    assert body["thinking"] == thinking
    assert body["max_tokens"] > thinking.get("budget_tokens", 0)
    assert ("output_config" in body) == (thinking["type"] == "adaptive")


def test_thinking_is_left_off_in_a_round_that_began_without_it() -> None:
    """Another model made these calls; with thinking on, the API would ask for the missing blocks."""
    foreign = [ReasoningBlock(text="t", origin="reasoning_content")]
    messages = [
        Message(role="user", text="u"),
        Message(role="assistant", tool_calls=[ToolCall("x", "f", "{}")], reasoning=foreign),
        Message(role="tool", text="1", tool_call_id="x"),
    ]
    body = encoded(messages, reasoning_effort="high")
    assert "thinking" not in body
    assert body["messages"][1]["content"][0]["type"] == "tool_use"

"""The OpenAI wire format: recorded streams in, requests out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import msgspec
import pytest

from hermesd.providers.base import (
    Delta,
    Message,
    ModelReply,
    ModelRequest,
    ProviderError,
    ReasoningBlock,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    ToolDefinition,
)
from hermesd.providers.failures import AttemptError
from hermesd.providers.http import Endpoint
from hermesd.providers.openai import OpenAIProvider
from hermesd.providers.openai_request import encode_request
from tests.unit.providers.replay import Part, replay, response, sse

DONE = b"[DONE]"
ASK = ModelRequest(model="m", system="", messages=[Message(role="user", text="hi")])
TOOLS = ModelRequest(
    model="m",
    system="",
    messages=[Message(role="user", text="hi")],
    tools=[ToolDefinition(name="f", description="d", parameters={"type": "object"})],
)


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **more}


def calls(*deltas: dict[str, Any]) -> dict[str, Any]:
    return chunk({"tool_calls": list(deltas)})


@asynccontextmanager
async def asking(*recordings: list[Part] | bytes) -> AsyncIterator[OpenAIProvider]:
    """A provider whose endpoint plays recorded responses."""
    async with (
        replay(*recordings) as server,
        aclosing(OpenAIProvider(Endpoint(server.url, headers={}), model="m")) as made,
    ):
        yield made


async def answered(*recordings: list[Part] | bytes, request: ModelRequest = ASK) -> tuple[ModelReply, list[Delta]]:
    """The answer to recorded responses, and what was streamed of it."""
    deltas: list[Delta] = []
    async with asking(*recordings) as provider:
        reply = await provider.complete(request, on_delta=deltas.append)
    return reply, deltas


async def test_thinking_is_streamed_apart_and_kept() -> None:
    """Under either field name; a field given twice with the same text counts once."""
    for field in ("reasoning_content", "reasoning"):
        stream = sse(chunk({field: "let me "}), chunk({field: "see"}), chunk({"content": "42"}, "stop"), DONE)
        reply, deltas = await answered(response(stream))
        assert reply.text == "42"
        assert reply.reasoning == [ReasoningBlock(text="let me see", origin=field)]
        assert deltas == [ReasoningDelta("let me "), ReasoningDelta("see"), TextDelta("42")]
    both = sse(chunk({"reasoning": "x", "reasoning_content": "x"}), chunk({}, "stop"), DONE)
    reply, _ = await answered(response(both))
    assert [block.text for block in reply.reasoning] == ["x"]


async def test_usage_is_the_endpoints_own_count() -> None:
    """It may come in a chunk without choices, with details or null details."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": None,
    }
    reply, _ = await answered(
        response(sse(chunk({"content": "a"}, "stop"), {"choices": [], "usage": usage, "model": "m-1"}, DONE))
    )
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens) == (10, 5, 8)
    assert reply.model == "m-1"


@pytest.mark.parametrize(
    "deltas",
    [
        [
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"n"'}},
            {"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}},
            {"index": 0, "function": {"arguments": ":1}"}},
            {"index": 1, "function": {"arguments": "{}"}},
        ],
        [  # no index
            {"id": "a", "function": {"name": "f", "arguments": '{"n"'}},
            {"function": {"arguments": ":1}"}},
            {"id": "b", "function": {"name": "g", "arguments": "{}"}},
        ],
        [  # every index 0, whole calls
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"n":1}'}},
            {"index": 0, "id": "b", "function": {"name": "g", "arguments": "{}"}},
        ],
        [  # arguments as an object, none at all
            {"index": 0, "id": "a", "function": {"name": "f", "arguments": {"n": 1}}},
            {"index": 1, "id": "b", "function": {"name": "g"}},
        ],
    ],
    ids=["by index", "without index", "all index 0", "objects"],
)
async def test_parallel_calls_are_put_together(deltas: list[dict[str, Any]]) -> None:
    """In each of the ways endpoints send them."""
    stream = sse(*[calls(delta) for delta in deltas], chunk({}, "tool_calls"), DONE)
    reply, _ = await answered(response(stream))
    assert reply.tool_calls == [ToolCall("a", "f", '{"n":1}'), ToolCall("b", "g", "{}")]
    assert reply.stop == "tool_calls"


async def test_calls_without_ids_or_with_the_same_get_their_own() -> None:
    """Results are matched to calls by id."""
    stream = sse(
        calls(*[{"index": n, "id": call_id, "function": {"name": "f"}} for n, call_id in enumerate(("", "x", "x"))]),
        chunk({}, "stop"),
        DONE,
    )
    reply, _ = await answered(response(stream))
    assert len({call.id for call in reply.tool_calls}) == 3
    assert all(call.id for call in reply.tool_calls)
    assert reply.stop == "tool_calls"


@pytest.mark.parametrize(
    ("events", "kind", "says"),
    [
        ([chunk({"content": "half"})], "unavailable", "finish reason"),
        ([chunk({"content": "half"}), DONE], "unavailable", "finish reason"),
        ([chunk({"content": "all"}, "stop")], "unavailable", "terminator"),
        ([chunk({"content": "x"}, "error"), DONE], "unavailable", "error"),
        ([chunk({"content": "x"}), {"error": {"message": "overloaded", "code": 503}}], "unavailable", "overloaded"),
        ([b'{"choices":[{"delta":{"conte'], "malformed", "chunk"),
        ([b"\xff\xfe"], "malformed", "chunk"),
        ([b"[" * 5000], "malformed", "chunk"),
        ([{"choices": "none"}], "malformed", "chunk"),
        ([calls({"index": 0, "function": {"arguments": "{}"}}), chunk({}, "stop"), DONE], "malformed", "name"),
    ],
)
async def test_a_broken_stream_is_an_error_that_is_retried(events: list[object], kind: str, says: str) -> None:
    """Never an answer, however much of it arrived."""
    with pytest.RaisesGroup(pytest.RaisesExc(AttemptError, match=says)) as caught:
        await answered(response(sse(*events)))
    error = caught.value.exceptions[0]
    assert isinstance(error, AttemptError)
    assert (error.kind, error.retry) == (kind, True)


async def test_an_endpoint_that_never_sends_a_terminator_is_believed_in_the_end() -> None:
    """Some compatible servers just close after the finish reason; what they said twice more is their way to speak."""
    stream = response(sse(chunk({"content": "all"}, "stop")))
    async with asking(stream) as provider:
        for _ in range(2):
            with pytest.raises(AttemptError):
                await provider.complete(ASK, on_delta=lambda _: None)
        for _ in range(2):
            assert (await provider.complete(ASK, on_delta=lambda _: None)).text == "all"


async def test_an_endpoint_that_did_send_one_is_never_believed_without() -> None:
    """Then its absence means that the stream was cut."""
    whole, cut = (response(sse(chunk({"content": "a"}, "stop"), *rest)) for rest in ([DONE], []))
    async with asking(whole, cut) as provider:
        await provider.complete(ASK, on_delta=lambda _: None)
        for _ in range(5):
            with pytest.raises(AttemptError):
                await provider.complete(ASK, on_delta=lambda _: None)


async def test_an_answer_in_one_document_is_taken_too() -> None:
    """An endpoint that cannot stream with tools answers with a plain completion."""
    message = {"content": "hello", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}
    body = msgspec.json.encode({"choices": [{"message": message, "finish_reason": "tool_calls"}]})
    reply, deltas = await answered(response(body, content_type="application/json; charset=utf-8"))
    assert (reply.text, [call.name for call in reply.tool_calls]) == ("hello", ["f"])
    assert deltas == [TextDelta("hello")]


async def test_a_refusal_is_text_with_that_reason() -> None:
    """OpenAI streams it in a field of its own."""
    reply, _ = await answered(response(sse(chunk({"refusal": "I can't."}), chunk({}, "stop"), DONE)))
    assert (reply.text, reply.stop) == ("I can't.", "refusal")


async def test_json_that_is_no_call_is_shown_after_all() -> None:
    """It was held back while it might have been one."""
    stream = sse(chunk({"content": '{"answer"'}), chunk({"content": ": 42}"}, "stop"), DONE)
    reply, deltas = await answered(response(stream), request=TOOLS)
    assert reply.text == '{"answer": 42}'
    assert deltas == [TextDelta('{"answer": 42}')]


async def test_too_many_calls_are_refused() -> None:
    """A model in a loop does not get to fill the memory."""
    deltas = [calls({"index": n, "id": str(n), "function": {"name": "f"}}) for n in range(200)]
    with pytest.RaisesGroup(ProviderError) as caught:
        await answered(response(sse(*deltas)))
    error = caught.value.exceptions[0]
    assert isinstance(error, AttemptError)
    assert not error.retry


def encoded(request: ModelRequest, url: str = "https://llm.example/v1") -> dict[str, Any]:
    body = msgspec.json.decode(encode_request(request, model="m", url=url))
    assert isinstance(body, dict)
    return body


def test_a_conversation_is_encoded_as_the_api_wants_it() -> None:
    """System first, calls as functions with JSON text, results by call id."""
    request = ModelRequest(
        model="",
        system="S",
        messages=[
            Message(role="user", text="u"),
            Message(role="assistant", tool_calls=[ToolCall("call/1", "f", '{"a": 1}')]),
            Message(role="tool", text="r", tool_call_id="call/1"),
        ],
        tools=TOOLS.tools,
        max_output_tokens=99,
        reasoning_effort="low",
    )
    body = encoded(request)
    assert body["messages"] == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "u"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "r"},
    ]
    assert body["stream_options"] == {"include_usage": True}
    assert (body["max_tokens"], body["reasoning_effort"]) == (99, "low")
    assert encoded(request, "https://api.openai.com/v1")["max_completion_tokens"] == 99


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", "nonsense", "[" * 5000])
def test_malformed_arguments_are_wrapped_when_sent_back(arguments: str) -> None:
    """Servers with chat templates parse the history and answer 500 to such a call."""
    message = Message(role="assistant", tool_calls=[ToolCall("a", "no such/tool", arguments)])
    body = encoded(ModelRequest(model="", system="", messages=[message]))
    [call] = body["messages"][0]["tool_calls"]
    assert msgspec.json.decode(call["function"]["arguments"]) == {"malformed_arguments": arguments}
    assert call["function"]["name"] == "no_such_tool"


def test_thinking_goes_back_with_its_calls_and_in_its_own_field() -> None:
    """DeepSeek demands it; another wire format's thinking, or that of a plain answer, is not sent."""
    call = [ToolCall("a", "f", "{}")]
    messages = [
        Message(role="assistant", tool_calls=call, reasoning=[ReasoningBlock(text="t", origin="reasoning_content")]),
        Message(role="assistant", tool_calls=call, reasoning=[ReasoningBlock(text="t", origin="anthropic")]),
        Message(role="assistant", text="x", reasoning=[ReasoningBlock(text="t", origin="reasoning_content")]),
    ]
    sent = encoded(ModelRequest(model="", system="", messages=messages))["messages"]
    assert [message.get("reasoning_content") for message in sent] == ["t", None, None]

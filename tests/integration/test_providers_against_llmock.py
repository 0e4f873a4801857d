"""Both wire formats against llmock, which breaks the endpoint in every way it knows and then judges the client."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio

from hermesd.config.schema import Config, ModelConfig
from hermesd.providers.base import (
    Delta,
    Message,
    ModelReply,
    ModelRequest,
    Provider,
    ProviderError,
    Restarted,
    TextDelta,
    ToolDefinition,
)
from hermesd.providers.build import build_provider
from tests.servers.llmock import LlmockServer, llmock, llmock_process, run_llmock

__all__ = ["llmock", "llmock_process"]  # fixtures

KEY = "sk-test-0123456789"
READ_TIMEOUT_S = 0.5
TOO_LONG_S = 60.0
WEATHER = ToolDefinition(
    name="get_weather",
    description="Weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
both_wires = pytest.mark.parametrize("wire", ["openai", "anthropic"])


class Deltas(list[Delta]):
    """What was streamed."""

    def shown(self) -> str:
        """The text on the screen: void after each Restarted."""
        text = ""
        for delta in self:
            if isinstance(delta, TextDelta):
                text += delta.text
            elif isinstance(delta, Restarted):
                text = ""
        return text

    def restarts(self) -> list[Restarted]:
        return [delta for delta in self if isinstance(delta, Restarted)]


def model(server: LlmockServer, wire: str, **overrides: Any) -> ModelConfig:
    settings: dict[str, Any] = {
        "default": "claude-sonnet-4-6" if wire == "anthropic" else "gpt-4o",
        "provider": wire,
        "base_url": server.base_url(wire),
        "api_key": KEY,
        "connect_timeout_s": 2.0,
        "read_timeout_s": READ_TIMEOUT_S,
    }
    return ModelConfig(**settings | overrides)


@asynccontextmanager
async def built(config: Config, *, backoff_s: float = 0.1) -> AsyncIterator[Provider]:
    provider = build_provider(config, {}, backoff_s=backoff_s)
    try:
        yield provider
    finally:
        await provider.aclose()


def question(text: str = "", **fields: Any) -> ModelRequest:
    """A request that no other test sends, so llmock does not take it for a retry of another."""
    text = text or f"Say something about {secrets.token_hex(4)}"
    return ModelRequest(model="", system="Be brief.", messages=[Message(role="user", text=text)], **fields)


async def ask(
    server: LlmockServer, wire: str, request: ModelRequest | None = None, **overrides: Any
) -> tuple[ModelReply, Deltas]:
    deltas = Deltas()
    async with built(Config(model=model(server, wire, **overrides))) as provider:
        return await provider.complete(request or question(), on_delta=deltas.append), deltas


def fail(status: int, **fields: Any) -> dict[str, Any]:
    return {"type": "fail", "status": status, **fields}


def stream_fault(kind: str, after_chunks: int = 1, **fields: Any) -> dict[str, Any]:
    return {"type": "stream_fault", "kind": kind, "after_chunks": after_chunks, **fields}


def assert_blameless(server: LlmockServer) -> None:
    verdict = server.verdict()
    assert verdict["findings"] == [], verdict
    assert server.pending() == []


@both_wires
async def test_an_answer_streams_and_adds_up(llmock: LlmockServer, wire: str) -> None:
    """The deltas make up the answer, and the endpoint's token counts come with it."""
    llmock.script({"type": "reply", "text": "one two  three\nfour ünïcödé ✓"})
    reply, deltas = await ask(llmock, wire)
    assert reply.text == deltas.shown() == "one two  three\nfour ünïcödé ✓"
    assert len(deltas) > 3
    assert reply.stop == "stop"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.provider == wire
    assert_blameless(llmock)


@both_wires
async def test_a_tool_loop_reaches_its_answer(llmock: LlmockServer, wire: str) -> None:
    """A call streamed in fragments is put together, its result goes back, and the text answer follows."""
    request = question("What is the weather?", tools=[WEATHER])
    async with built(Config(model=model(llmock, wire))) as provider:
        first = await provider.complete(request, on_delta=lambda _: None)
        assert first.stop == "tool_calls"
        [call] = first.tool_calls
        assert call.name == "get_weather"
        history = [
            *request.messages,
            Message(role="assistant", text=first.text, tool_calls=first.tool_calls),
            Message(role="tool", text="sunny", tool_call_id=call.id),
        ]
        followup = ModelRequest(model="", system="Be brief.", messages=history, tools=[WEATHER])
        second = await provider.complete(followup, on_delta=lambda _: None)
    assert second.stop == "stop"
    assert second.text
    assert_blameless(llmock)


@both_wires
async def test_parallel_tool_calls_keep_their_arguments_apart(llmock: LlmockServer, wire: str) -> None:
    """Two calls of one answer arrive as two calls, with text beside them."""
    calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Paris", "Reykjavík and surroundings")]
    llmock.script({"type": "reply", "text": "Looking.", "tool_calls": calls})
    reply, _ = await ask(llmock, wire, question(tools=[WEATHER]))
    assert reply.text == "Looking."
    assert ["Paris" in call.arguments for call in reply.tool_calls] == [True, False]
    assert len({call.id for call in reply.tool_calls}) == 2
    assert_blameless(llmock)


@both_wires
@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
async def test_a_broken_tool_call_is_handed_over_as_received(llmock: LlmockServer, wire: str, kind: str) -> None:
    """The turn decides what a bad call means; and it can be sent back to the endpoint afterwards."""
    llmock.script(
        {"type": "reply", "tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]},
        {"type": "tool_fault", "kind": kind},
    )
    request = question(tools=[WEATHER])
    reply, _ = await ask(llmock, wire, request)
    [call] = reply.tool_calls
    assert call.arguments == ('{"city":' if kind == "malformed_arguments" else '{"city": "Paris"}')
    assert (call.name == "get_weather") == (kind == "malformed_arguments")
    history = [
        *request.messages,
        Message(role="assistant", tool_calls=[call]),
        Message(role="tool", text="no", tool_call_id=call.id, is_error=True),
    ]
    reply, _ = await ask(llmock, wire, ModelRequest(model="", system="", messages=history, tools=[WEATHER]))
    assert reply.text
    assert_blameless(llmock)


@both_wires
@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
async def test_a_passing_failure_is_retried(llmock: LlmockServer, wire: str, status: int) -> None:
    """One such answer costs a restart, not the turn."""
    llmock.script(fail(status, retry_after=0.2))
    reply, deltas = await ask(llmock, wire)
    assert reply.text == deltas.shown()
    [restart] = deltas.restarts()
    assert str(status) in restart.reason
    assert restart.delay_s >= 0.2
    assert_blameless(llmock)


@both_wires
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, "refused"), (401, "auth"), (402, "auth"), (403, "auth"), (404, "refused"), (422, "refused")],
)
async def test_a_lasting_failure_is_not_retried(llmock: LlmockServer, wire: str, status: int, kind: str) -> None:
    """One request, one error that says what to do and does not show the key."""
    llmock.script(fail(status, message=f"no, {KEY} is wrong"))
    with pytest.raises(ProviderError) as caught:
        await ask(llmock, wire)
    assert caught.value.kind == kind
    assert caught.value.next_step
    assert KEY not in str(caught.value)
    assert len(llmock.requests()) == 1
    assert_blameless(llmock)


@both_wires
async def test_rate_limits_are_waited_out_as_long_as_asked(llmock: LlmockServer, wire: str) -> None:
    """Two 429 in a row: each wait is at least the endpoint's own."""
    llmock.script(fail(429, retry_after=0.4, times=2))
    reply, deltas = await ask(llmock, wire)
    assert reply.text
    assert [restart.delay_s >= 0.4 for restart in deltas.restarts()] == [True, True]
    assert_blameless(llmock)


@both_wires
async def test_a_long_retry_after_is_left_to_the_turn(llmock: LlmockServer, wire: str) -> None:
    """An hour is not waited for here; asked again early, the endpoint gets one request and not four."""
    llmock.script(fail(500), fail(429, retry_after=3600), fail(503, retry_after=0))
    request = question()
    async with built(Config(model=model(llmock, wire))) as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.complete(request, on_delta=lambda _: None)
        assert caught.value.kind == "rate_limited"
        assert caught.value.temporary
        assert caught.value.retry_after_s == 3600
        assert len(llmock.requests()) == 2
        with pytest.raises(ProviderError):
            await provider.complete(request, on_delta=lambda _: None)
        assert len(llmock.requests()) == 3
    findings = [finding["code"] for finding in llmock.verdict()["findings"]]
    assert findings == ["retry_after_ignored"]  # of this test, which did not wait
    llmock.reset()


@both_wires
async def test_an_outage_ends_in_a_bounded_number_of_growing_waits(llmock: LlmockServer, wire: str) -> None:
    """An endpoint that stays down is asked max_attempts times, then the message waits."""
    llmock.script(fail(500, times=None))
    deltas = Deltas()
    async with built(Config(model=model(llmock, wire))) as provider:
        with pytest.raises(ProviderError) as caught:
            await provider.complete(question(), on_delta=deltas.append)
    waits = [restart.delay_s for restart in deltas.restarts()]
    assert caught.value.kind == "unavailable"
    assert len(llmock.requests()) == 4
    assert waits[0] > 0
    assert waits[1] >= 2 * waits[0]
    assert waits[2] >= 2 * waits[1]
    assert llmock.verdict()["findings"] == []


@both_wires
async def test_a_message_asked_again_through_an_outage_is_no_retry_storm(llmock: LlmockServer, wire: str) -> None:
    """After its attempts were spent, each later call is one request; when the endpoint is back, it answers."""
    llmock.script(fail(500, times=7))
    request = question()
    async with built(Config(model=model(llmock, wire))) as provider:
        for _ in range(4):
            with pytest.raises(ProviderError):
                await provider.complete(request, on_delta=lambda _: None)
        reply = await provider.complete(request, on_delta=lambda _: None)
    assert reply.text
    assert len(llmock.requests()) == 4 + 3 + 1
    assert_blameless(llmock)


@both_wires
async def test_a_spent_attempt_limit_of_the_configuration_holds(llmock: LlmockServer, wire: str) -> None:
    """max_attempts beyond eight is eight."""
    llmock.script(fail(500, times=None))
    async with built(Config(model=model(llmock, wire, max_attempts=100)), backoff_s=0.01) as provider:
        with pytest.raises(ProviderError):
            await provider.complete(question(), on_delta=lambda _: None)
    assert len(llmock.requests()) == 8
    assert llmock.verdict()["findings"] == []


TEXT = "alpha beta"
PACE_MS = "100"  # between chunks: time for a busy machine to notice that its client has left
CHUNKS = {"openai": 6, "anthropic": 8}  # of a stream that says this


async def cut_everywhere(server: LlmockServer, wire: str, kind: str) -> None:
    """Ask once for each chunk of a stream, with that chunk as the fault's victim."""
    async with built(Config(model=model(server, wire))) as provider, trio.open_nursery() as nursery:

        async def cut_at(position: int) -> None:
            deltas = Deltas()
            match = {"stream": True, "model": f"{wire}-{position}"}
            server.script(
                {"type": "reply", "text": TEXT, "match": match, "times": 2},
                stream_fault(kind, position, match=match),
            )
            request = ModelRequest(model=match["model"], system="", messages=[Message(role="user", text="go")])
            reply = await provider.complete(request, on_delta=deltas.append)
            assert reply.text == deltas.shown() == TEXT
            assert len(deltas.restarts()) == 1, (position, deltas)

        for position in range(CHUNKS[wire]):
            nursery.start_soon(cut_at, position)
    assert server.verdict()["faults_injected"] == CHUNKS[wire]
    assert server.pending() == []


@both_wires
@pytest.mark.parametrize("kind", ["truncate", "disconnect"])
async def test_a_stream_cut_anywhere_is_never_taken_for_an_answer(llmock: LlmockServer, wire: str, kind: str) -> None:
    """Each chunk is the victim once, from the first to the terminator: always one restart, then the whole answer."""
    await cut_everywhere(llmock, wire, kind)
    assert_blameless(llmock)


@both_wires
def test_a_malformed_chunk_anywhere_ends_the_attempt(wire: str) -> None:
    """The stream is left at the bad chunk and asked for again.

    llmock sees that only if it still has chunks to send, so it paces them; behind the last one it cannot.
    """
    with run_llmock("--stream-chunk-delay-ms", PACE_MS) as server:
        trio.run(cut_everywhere, server, wire, "malformed")
        requests = {request["seq"]: request for request in server.requests()}
        blamed = [
            requests[seq]["chunks_sent"] for finding in server.verdict()["findings"] for seq in finding["requests"]
        ]
        assert blamed in ([], [CHUNKS[wire]])


@both_wires
async def test_a_cut_tool_call_is_never_half_called(llmock: LlmockServer, wire: str) -> None:
    """Truncated within its arguments, the call is asked for again."""
    call = {"name": "get_weather", "arguments": {"city": "Llanfairpwllgwyngyll"}}
    llmock.script({"type": "reply", "tool_calls": [call], "times": 2}, stream_fault("truncate", 3))
    reply, deltas = await ask(llmock, wire, question(tools=[WEATHER]))
    assert [call.arguments for call in reply.tool_calls] == ['{"city": "Llanfairpwllgwyngyll"}']
    assert len(deltas.restarts()) == 1
    assert_blameless(llmock)


@both_wires
@pytest.mark.parametrize("after_chunks", [0, 2])
async def test_a_stalled_stream_is_left_after_the_read_timeout(
    llmock: LlmockServer, wire: str, after_chunks: int
) -> None:
    """Silence is a failure: the connection is given up and the request sent again."""
    llmock.script(stream_fault("stall", after_chunks, stall_seconds=600))
    with trio.fail_after(TOO_LONG_S):
        reply, deltas = await ask(llmock, wire)
    assert reply.text
    assert f"{READ_TIMEOUT_S:g} s" in deltas.restarts()[0].reason
    assert_blameless(llmock)


@both_wires
@pytest.mark.parametrize("kind", ["delay", "slow_first_token"])
async def test_a_slow_answer_within_the_timeout_is_waited_for(llmock: LlmockServer, wire: str, kind: str) -> None:
    """Slow is not broken."""
    llmock.script({"type": kind, "seconds": 0.2})
    reply, deltas = await ask(llmock, wire)
    assert reply.text == deltas.shown()
    assert deltas.restarts() == []
    assert_blameless(llmock)


@both_wires
def test_every_fault_at_once_still_ends_in_the_answer(wire: str) -> None:
    """429, 500, a truncated and a corrupted stream in a row, within six attempts; paced as above."""
    with run_llmock("--stream-chunk-delay-ms", PACE_MS) as server:
        server.script(fail(429, retry_after=0.2), fail(500), stream_fault("truncate", 2), stream_fault("malformed", 2))
        reply, deltas = trio.run(partial(ask, server, wire, max_attempts=6))
        assert reply.text == deltas.shown()
        assert len(deltas.restarts()) == 4
        assert_blameless(server)


@both_wires
@pytest.mark.parametrize(("finish", "stop"), [("length", "length"), ("content_filter", "refusal")])
async def test_the_reason_an_answer_stopped_is_kept(llmock: LlmockServer, wire: str, finish: str, stop: str) -> None:
    """Cut off at the token limit and refused are not the same as finished."""
    llmock.script({"type": "reply", "text": "half an", "finish_reason": finish})
    reply, _ = await ask(llmock, wire)
    assert reply.stop == stop
    assert_blameless(llmock)


@both_wires
async def test_a_tool_call_written_as_text_is_recovered(llmock: LlmockServer, wire: str) -> None:
    """Fenced JSON naming an offered tool becomes the call it was meant to be, and is not shown."""
    llmock.script({"type": "reply", "text": '```json\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n```'})
    reply, deltas = await ask(llmock, wire, question(tools=[WEATHER]))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("get_weather", '{"city":"Rome"}')]
    assert reply.stop == "tool_calls"
    assert reply.text == deltas.shown() == ""
    assert_blameless(llmock)


@both_wires
@pytest.mark.parametrize(("status", "blamed"), [(503, "unavailable"), (401, "auth"), (400, "refused")])
async def test_the_next_model_of_the_chain_answers(llmock: LlmockServer, wire: str, status: int, blamed: str) -> None:
    """Whatever the first one's trouble, what was streamed is void and the second one's answer counts."""
    other = "anthropic" if wire == "openai" else "openai"
    llmock.script(fail(status, times=None, retry_after=0, match={"provider": wire}))
    chain = Config(model=model(llmock, wire, max_attempts=2), fallback_providers=[model(llmock, other)])
    deltas = Deltas()
    async with built(chain) as provider:
        reply = await provider.complete(question(), on_delta=deltas.append)
    assert reply.provider == other
    assert reply.text == deltas.shown()
    assert "instead" in deltas.restarts()[-1].reason
    assert llmock.verdict()["findings"] == [], blamed


@both_wires
async def test_a_chain_that_is_down_as_a_whole_says_what_each_said(llmock: LlmockServer, wire: str) -> None:
    """One permanent and one temporary failure are temporary together."""
    llmock.script(
        fail(401, times=None, match={"provider": "openai"}),
        fail(500, times=None, match={"provider": "anthropic"}),
    )
    models = [model(llmock, "openai", max_attempts=2), model(llmock, "anthropic", max_attempts=2)]
    if wire == "anthropic":
        models.reverse()
    async with built(Config(model=models[0], fallback_providers=models[1:])) as provider:
        with pytest.raises(ProviderError, match=r"401.*500|500.*401") as caught:
            await provider.complete(question(), on_delta=lambda _: None)
    assert caught.value.temporary
    assert llmock.verdict()["findings"] == []


@both_wires
async def test_thirty_cancelled_calls_leave_the_connections_usable(llmock: LlmockServer, wire: str) -> None:
    """An interrupted turn closes its connection at once; the next request works."""
    stuck = {"type": "slow_first_token", "seconds": 600, "times": 30, "match": {"stream": True, "model": "stuck"}}
    llmock.script(stuck)
    async with built(Config(model=model(llmock, wire, read_timeout_s=600.0))) as provider:

        async def interrupted(patience_s: float) -> None:
            request = ModelRequest(model="stuck", system="", messages=[Message(role="user", text="hi")])
            with trio.move_on_after(patience_s) as scope:
                await provider.complete(request, on_delta=lambda _: None)
            assert scope.cancelled_caught

        await provider.complete(question(), on_delta=lambda _: None)
        with trio.fail_after(TOO_LONG_S):
            async with trio.open_nursery() as nursery:
                for number in range(30):
                    nursery.start_soon(interrupted, number * 0.02)
            reply = await provider.complete(question(), on_delta=lambda _: None)
    assert reply.text


@both_wires
async def test_connections_are_kept_between_turns(llmock: LlmockServer, wire: str) -> None:
    """Ten warm calls in a row use one connection and cost little more than the server's own time."""
    async with built(Config(model=model(llmock, wire))) as provider:
        for _ in range(10):
            await provider.complete(question(), on_delta=lambda _: None)
        pool = provider._links[0][0]._inner._endpoint._client._transport._pool  # no public view of it
        assert len(pool.connections) == 1
    assert_blameless(llmock)


@both_wires
def test_a_prompt_beyond_the_context_window_is_an_overflow(wire: str) -> None:
    """It is not sent again, not passed down the chain, and recognised by either provider's own words."""
    with run_llmock("--context-window", "50") as server:

        async def scenario() -> None:
            chain = Config(model=model(server, wire), fallback_providers=[model(server, wire)])
            async with built(chain) as provider:
                with pytest.raises(ProviderError) as caught:
                    await provider.complete(question("word " * 500), on_delta=lambda _: None)
            assert caught.value.kind == "overflow"

        trio.run(scenario)
        assert len(server.requests()) == 1
        assert_blameless(server)


def test_the_report_of_a_day_of_chaos_is_clean() -> None:
    """Random 429, 500 and 529, broken streams and a quota, twelve conversations at a time: ``llmock report`` passes."""
    chaos = ["--error-rate", "429=0.05", "--error-rate", "500=0.05", "--error-rate", "529=0.03"]
    faults = ["truncate=0.05", "disconnect=0.05", "malformed=0.05", "stall=0.03"]
    options = [*chaos, *(part for fault in faults for part in ("--stream-fault", fault))]
    options += ["--rpm", "600", "--stream-chunk-delay-ms", "30"]  # paced: see the test of malformed chunks
    with run_llmock(*options) as server:

        async def converse(provider: Provider, lost: Callable[[ProviderError], None]) -> None:
            for _ in range(2):
                request = question()
                try:
                    await provider.complete(request, on_delta=lambda _: None)
                except ProviderError as error:
                    lost(error)

        async def scenario() -> list[ProviderError]:
            lost: list[ProviderError] = []
            openai = Config(model=model(server, "openai", max_attempts=8))
            anthropic = Config(model=model(server, "anthropic", max_attempts=8))
            async with built(openai) as one, built(anthropic) as other, trio.open_nursery() as nursery:
                for provider in (one, other) * 6:
                    nursery.start_soon(converse, provider, lost.append)
            return lost

        assert trio.run(scenario) == []
        report = server.report(strict=True)
        assert report.returncode == 0, report.stdout
        assert "PASS" in report.stdout
        assert server.verdict()["faults_injected"] > 0

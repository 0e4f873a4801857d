"""What can go wrong between a request and its answer, on real sockets."""

from __future__ import annotations

import socket
from contextlib import aclosing
from typing import Any

import pytest
import trio

from hermesd.providers.base import Message, ModelRequest
from hermesd.providers.failures import AttemptError
from hermesd.providers.http import Endpoint
from hermesd.providers.openai import OpenAIProvider
from tests.unit.providers.replay import CLOSE, HANG, Part, Replay, open_ended, replay, response, sse

ASK = ModelRequest(model="m", system="", messages=[Message(role="user", text="hi")])
ANSWER = sse({"choices": [{"delta": {"content": "hello"}, "finish_reason": "stop"}]}, b"[DONE]")
KEY = "sk-test-0123456789"
LONG_S = 600.0
TOO_LONG_S = 60.0


def provider_for(server: Replay, **options: Any) -> OpenAIProvider:
    headers = {"authorization": f"Bearer {KEY}"}
    return OpenAIProvider(Endpoint(f"{server.url}/v1/chat/completions", headers=headers, **options), model="m")


async def ask(provider: OpenAIProvider) -> str:
    return (await provider.complete(ASK, on_delta=lambda _: None)).text


async def failure(*recordings: list[Part] | bytes, **options: Any) -> AttemptError:
    """The error that one attempt ends in."""
    async with replay(*recordings) as server, aclosing(provider_for(server, **options)) as provider:
        with pytest.raises(AttemptError) as caught:
            await ask(provider)
    assert KEY not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    "recording",
    [
        [CLOSE],
        [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\n" + ANSWER[:30], CLOSE],
        [open_ended(ANSWER[:30]), CLOSE],
        [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\nZZ\r\n"],
        [b"220 smtp.example ready\r\n\r\n"],
    ],
    ids=["hangs up", "cut by length", "cut without length", "bad chunk", "not HTTP"],
)
async def test_a_broken_connection_is_worth_another_attempt(recording: list[Part]) -> None:
    """However it breaks, it is never an answer."""
    error = await failure(recording)
    assert (error.kind, error.retry) == ("unavailable", True)


async def test_a_refused_connection_is_worth_another_attempt() -> None:
    """The endpoint may be starting."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with aclosing(OpenAIProvider(Endpoint(url, headers={}), model="m")) as provider:
            with pytest.raises(AttemptError, match="no connection") as caught:
                await ask(provider)
    assert caught.value.retry


@pytest.mark.parametrize("recording", [[HANG], [open_ended(ANSWER[:30]), HANG]], ids=["no answer", "half an answer"])
async def test_silence_ends_at_the_read_timeout(recording: list[Part]) -> None:
    """Before the first byte or in the middle."""
    with trio.fail_after(TOO_LONG_S):
        error = await failure(recording, read_timeout_s=0.2)
    assert "0.2 s" in error.what
    assert error.retry


@pytest.mark.parametrize(
    "recording",
    [
        response(b"<html>Please log in</html>", content_type="text/html; charset=utf-8"),
        response(b"x", status="302 Found", extra="location: https://elsewhere.example/\r\n"),
        open_ended(b"data: " + b"x" * 5_000_000),
        open_ended(b": keep waiting\n\n" * 100_000),
        response(b"[" * 20_000_000, content_type="application/json"),
    ],
    ids=["web page", "redirect", "endless line", "endless stream", "endless document"],
)
async def test_what_is_no_answer_is_given_up_and_not_asked_again(recording: bytes) -> None:
    """A captive portal, another address, more than any answer: bounded, and the same the next time."""
    error = await failure(recording, max_stream_bytes=1_000_000 if b"keep waiting" in recording else 64 * 1024 * 1024)
    assert not error.retry
    assert error.next_step


async def test_a_long_error_body_is_not_read_to_its_end() -> None:
    """A 500 with gigabytes behind it is a 500."""
    error = await failure([b"HTTP/1.1 500 Oops\r\ncontent-length: 9999999999\r\n\r\n" + b"x" * 200_000, HANG])
    assert "500" in error.what
    assert error.retry


async def test_an_endpoint_that_keeps_the_stream_open_does_not_hold_the_answer_back() -> None:
    """After its terminator the answer is complete, whatever the connection does."""
    recording: list[Part] = [open_ended(ANSWER), HANG]
    async with replay(recording) as server, aclosing(provider_for(server, read_timeout_s=LONG_S)) as provider:
        with trio.fail_after(TOO_LONG_S):
            assert await ask(provider) == "hello"


async def test_an_answer_dribbled_byte_by_byte_arrives_whole() -> None:
    """Slow senders are fine as long as they send."""
    recording: list[Part] = [bytes([byte]) for byte in response(ANSWER)]
    async with replay(recording) as server, aclosing(provider_for(server)) as provider:
        assert await ask(provider) == "hello"


async def test_turns_share_a_connection_and_a_broken_one_is_replaced() -> None:
    """Whole answers leave it usable; after a broken one a new connection is made."""
    broken: list[Part] = [open_ended(ANSWER[:30]), CLOSE]
    good = response(ANSWER)
    async with replay(good, good, broken, good) as server, aclosing(provider_for(server)) as provider:
        await ask(provider)
        await ask(provider)
        assert server.connections == 1
        with pytest.raises(AttemptError):
            await ask(provider)
        assert await ask(provider) == "hello"
        assert server.connections == 2
    assert all(f"authorization: bearer {KEY}" in head.lower() for head in server.heads)


async def test_cancelling_closes_the_connection_at_once() -> None:
    """The endpoint sees the hang-up, so it stops generating (and billing)."""
    asked, hung_up = trio.Event(), trio.Event()

    async def endpoint(stream: trio.SocketStream) -> None:
        request = b""
        while not request.endswith(b"}"):
            request += await stream.receive_some()
        await stream.send_all(open_ended(ANSWER[:30]))
        asked.set()
        assert not await stream.receive_some()
        hung_up.set()

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, endpoint, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with aclosing(OpenAIProvider(Endpoint(url, headers={}), model="m")) as provider:
            with trio.fail_after(TOO_LONG_S):
                async with trio.open_nursery() as asking:
                    asking.start_soon(ask, provider)
                    await asked.wait()
                    asking.cancel_scope.cancel()
                await hung_up.wait()
        nursery.cancel_scope.cancel()


async def test_closing_ends_a_call_under_way_as_unavailable() -> None:
    """A reload replaces the provider; the turn's message is kept and asked again."""
    errors: list[AttemptError] = []

    async def call(provider: OpenAIProvider) -> None:
        with pytest.raises(AttemptError) as caught:
            await ask(provider)
        errors.append(caught.value)

    async with replay([open_ended(ANSWER[:30]), HANG]) as server:
        provider = provider_for(server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, provider)
            await server.asked.wait()
            await provider.aclose()
        await provider.aclose()
        await call(provider)
    assert [error.kind for error in errors] == ["unavailable", "unavailable"]
    assert not errors[1].retry


@pytest.mark.parametrize("key", ["sk-\nbad", "sk-ключ", "sk\x00"])
async def test_a_key_that_no_header_can_hold_is_not_shown(key: str) -> None:
    """The HTTP library would quote the whole header in its error."""
    endpoint = Endpoint("http://127.0.0.1:9/v1", headers={"authorization": f"Bearer {key}"}, secret=key)
    async with aclosing(OpenAIProvider(endpoint, model="m")) as provider:
        with pytest.raises(AttemptError) as caught:
            await ask(provider)
    assert caught.value.kind == "auth"
    assert key not in str(caught.value)

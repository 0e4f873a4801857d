"""Our accept loop around Hypercorn: strangers on a real socket who send too little, too much, or take nothing."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from hermesd.config.schema import McpServeConfig
from hermesd.errors import ConfigError, ConflictError
from hermesd.serving import http
from hermesd.serving.guard import Guard
from hermesd.serving.http import SEND_S, HttpListener
from tests.waiting import until

WITHIN_S = 20.0
REQUEST = b"POST /mcp HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}"


async def answering(_scope: Any, receive: Any, send: Any) -> None:
    """Read the body, say ok."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


async def pouring(_scope: Any, _receive: Any, send: Any) -> None:
    """An answer without end, in pieces that no kernel's buffer holds."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": bytes(64 * 1024 * 1024), "more_body": True})


@contextlib.asynccontextmanager
async def listening(app: Any) -> AsyncIterator[HttpListener]:
    listener = HttpListener("127.0.0.1", 0)
    await listener.open()
    with trio.fail_after(WITHIN_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listener.serve, app)
            yield listener
            nursery.cancel_scope.cancel()


async def connect(listener: HttpListener) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", listener.port)


async def ask(stream: trio.SocketStream) -> bytes:
    """One request and its whole answer."""
    await stream.send_all(REQUEST)
    data = b""
    while not data.endswith(b"ok"):
        data += await stream.receive_some(4096)
    return data


async def all_of(stream: trio.SocketStream) -> bytes:
    data = b""
    with contextlib.suppress(trio.BrokenResourceError):
        while more := await stream.receive_some(65536):
            data += more
    return data


async def test_requests_are_answered_one_after_the_other_on_a_connection() -> None:
    """Keep-alive."""
    async with listening(answering) as listener, await connect(listener) as stream:
        for _ in range(2):
            assert (await ask(stream)).startswith(b"HTTP/1.1 200")


async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
    """As the SDK does with a body that is too large: it is not read."""
    await send({"type": "http.response.start", "status": 413, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"no"})


TOKEN = "a-token-for-tests-0123456789"


@pytest.mark.parametrize(
    ("app", "fields", "status"),
    [
        (answering, "authorization: Bearer wrong\r\ncontent-length: 100000\r\n", b"401"),
        (answering, "authorization: Bearer wrong\r\ntransfer-encoding: chunked\r\n", b"401"),
        (refusing, f"authorization: Bearer {TOKEN}\r\ncontent-length: 100000\r\n", b"413"),
    ],
)
async def test_whose_body_is_not_read_is_told_that_the_connection_ends(app: Any, fields: str, status: bytes) -> None:
    """Or its next request would meet a connection that is being closed. Without a body it may go on."""
    config = McpServeConfig(token=TOKEN, allowed_hosts=["x"])
    async with listening(Guard(app, config, 8765)) as listener, await connect(listener) as stream:
        await stream.send_all(b"GET /mcp HTTP/1.1\r\nhost: x\r\n\r\n")
        first = b""
        while not first.endswith(b"needed\n"):
            first += await stream.receive_some(4096)
        assert first.startswith(b"HTTP/1.1 401")
        assert b"connection: close" not in first.lower()
        await stream.send_all(f"POST /mcp HTTP/1.1\r\nhost: x\r\n{fields}\r\n".encode())
        told = (await all_of(stream)).lower()
    assert told.startswith(b"http/1.1 " + status)
    assert b"connection: close" in told


async def test_half_a_head_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a connection without any request."""
    monkeypatch.setattr(http, "IDLE_S", 0.2)
    async with listening(answering) as listener, await connect(listener) as half, await connect(listener) as silent:
        await half.send_all(REQUEST[:30])
        assert await all_of(half) == b""
        assert await all_of(silent) == b""


async def test_no_more_connections_than_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is closed at once, and those that are there go on."""
    monkeypatch.setattr(http, "MAX_CONNECTIONS", 2)
    async with listening(answering) as listener, await connect(listener) as one, await connect(listener) as two:
        assert (await ask(one)).startswith(b"HTTP/1.1 200")
        assert (await ask(two)).startswith(b"HTTP/1.1 200")
        async with await connect(listener) as three:
            assert await all_of(three) == b""
        assert (await ask(one)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\0" * 100_000, b"POST / HTTP/9.9\r\n\r\n"])
async def test_junk_costs_only_its_sender(junk: bytes) -> None:
    """Others are served on."""
    async with listening(answering) as listener:
        async with await connect(listener) as bad:
            with contextlib.suppress(trio.BrokenResourceError):
                await bad.send_all(junk)
                await bad.send_eof()
                await all_of(bad)
        async with await connect(listener) as good:
            assert (await ask(good)).startswith(b"HTTP/1.1 200")


async def test_a_client_that_reads_nothing_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hypercorn would wait for it for ever."""
    monkeypatch.setattr(http, "SEND_S", 0.3)
    async with listening(pouring) as listener, await connect(listener) as stream:
        await stream.send_all(REQUEST)
        await stream.receive_some(1)
        await until(lambda: not listener.connections)


async def test_a_client_that_reads_nothing_does_not_hold_up_the_end() -> None:
    """Closing ends its send, which is shielded from cancellation."""
    with trio.fail_after(SEND_S / 2):
        async with listening(pouring) as listener:
            stream = await connect(listener)
            await stream.send_all(REQUEST)
            await trio.testing.wait_all_tasks_blocked(0.2)  # the buffers are full, and the send stands still
        await stream.aclose()


async def test_a_port_that_is_taken_is_tried_again_and_an_address_of_others_is_not() -> None:
    """The first may be given up by whoever has it. Both say what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ConflictError) as info:
            await HttpListener("127.0.0.1", taken.getsockname()[1]).open()
    assert "choose another" in info.value.next_step
    with pytest.raises(ConfigError):
        await HttpListener("192.0.2.1", 0).open()

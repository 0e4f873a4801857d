"""The HTTP listener, spoken to with raw bytes on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from hermesd.errors import ConfigError, ConflictError
from hermesd.web.http11 import Limits
from hermesd.web.ingress import Ingress, add_health
from hermesd.web.message import Request, Response, json_response


async def echo(request: Request) -> Response:
    body = await request.body(max_bytes=1000)
    return json_response(200, got=body.decode("latin-1"), path=request.path)


async def ignore(_request: Request) -> Response:
    return json_response(403, error="no")


@asynccontextmanager
async def listening(*, limits: Limits | None = None, max_connections: int = 512) -> AsyncIterator[Ingress]:
    ingress = Ingress("127.0.0.1", 0, limits=limits, max_connections=max_connections)
    add_health(ingress)
    ingress.add_route("POST", "/echo", echo)
    ingress.add_route("POST", "/echo/ignored", ignore)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: ingress.run(task_status=task_status))
        yield ingress
        nursery.cancel_scope.cancel()


async def connect(ingress: Ingress) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", ingress.port)


async def everything(stream: trio.SocketStream) -> bytes:
    data = bytearray()
    try:
        async for chunk in stream:
            data += chunk
    except trio.BrokenResourceError:
        pass
    return bytes(data)


async def say(ingress: Ingress, data: bytes) -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    async with await connect(ingress) as stream:
        await stream.send_all(data)
        return await everything(stream)


def post(path: str, body: bytes, *fields: str, close: bool = True) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *fields]
    if close:
        head.append("Connection: close")
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def test_health_is_answered() -> None:
    """GET /health says ok in the words that monitors of a hermes-agent expect."""
    async with listening() as ingress:
        answer = await say(ingress, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"status":"ok","platform":"webhook"}')


async def test_the_longest_prefix_wins() -> None:
    """Routes nest; unknown paths are 404 and known ones under another method 405."""
    async with listening() as ingress:
        assert b'"path":"/echo/a/b"' in await say(ingress, post("/echo/a/b?x=1", b"hi"))
        assert b" 403 " in await say(ingress, post("/echo/ignored/x", b""))
        assert b" 404 " in await say(ingress, post("/ech", b""))
        answer = await say(ingress, b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b" 405 " in answer
        assert b"allow: POST" in answer


async def test_a_removed_route_is_gone() -> None:
    """Removing is by identity: a successor under the same path stays."""
    ingress = Ingress()
    remove = ingress.add_route("POST", "/a", echo)
    ingress.add_route("POST", "/a", ignore)
    remove()
    request = Request("POST", "/a", "", headers=None, read_body=None)  # type: ignore[arg-type]  # not looked at
    assert (await ingress.handle(request)).status == 403


CHUNKED = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_requests_follow_each_other_on_one_connection() -> None:
    """Keep-alive and pipelining, with bodies that arrive with their heads, in pieces, and in chunks."""
    async with listening() as ingress, await connect(ingress) as stream:
        await stream.send_all(post("/echo", b"one", close=False) + CHUNKED + b"3;x=y\r\ntw")
        assert b'"got":"one"' in await stream.receive_some()
        await stream.send_all(b"o\r\n0\r\nTrailer: t\r\n\r\n")
        assert b'"got":"two"' in await stream.receive_some()
        await stream.send_all(post("/echo", b"three") + post("/echo", b"never"))
        last = await everything(stream)
    assert b'"got":"three"' in last
    assert b"never" not in last


async def test_what_is_sent_behind_a_chunked_body_is_not_read() -> None:
    """Where a chunked body ends is what smuggling is about: the answer closes, and the client sends again."""
    async with listening() as ingress:
        answers = await say(ingress, CHUNKED + b"2\r\nhi\r\n0\r\n\r\n" + post("/echo", b"smuggled", close=False))
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b'"got":"hi"' in answers
    assert b"connection: close" in answers


async def test_a_wish_to_change_the_protocol_is_passed_over() -> None:
    """Java's client offers HTTP/2 with each request; it is answered in HTTP/1.1, with a body of either kind."""
    wish = b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMA\r\n"
    async with listening() as ingress, await connect(ingress) as stream:
        for framed in (b"Content-Length: 2\r\n\r\nhi", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"):
            await stream.send_all(b"POST /echo HTTP/1.1\r\nHost: x\r\n" + wish + framed)
            answer = await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert b'"got":"hi"' in answer


@pytest.mark.parametrize(
    "framing", [b"1;" + b"x" * 30 + b"\r\na\r\n", b"0\r\n" + b"a: b\r\n" * 20_000, b"0\r\na: " + b"b" * 200_000]
)
async def test_framing_that_outweighs_its_body_is_refused(framing: bytes) -> None:
    """Extensions and trailers are read past, never kept, and not without end."""
    async with listening() as ingress:
        answer = await say(ingress, CHUNKED + framing * (4000 if framing.startswith(b"1") else 1))
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 "))


async def test_a_client_that_waits_for_100_gets_it_only_when_its_body_is_wanted() -> None:
    """Expect: 100-continue is answered by 100 or at once by the refusal."""
    async with listening() as ingress:
        async with await connect(ingress) as stream:
            await stream.send_all(post("/echo", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 2"))
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 100 ")
            await stream.send_all(b"hi")
            assert b'"got":"hi"' in await everything(stream)
        async with await connect(ingress) as stream:
            head = post("/echo/ignored", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 2")
            await stream.send_all(head)
            assert (await everything(stream)).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    "data",
    [
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nX-A: 1\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nX-A: 1\nX-B: 2\r\nContent-Length: 0\r\n\r\n",
        b"POST /echo HTTP/1.1\nHost: x\nContent-Length: 0\n\n",
        b"\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhi\r\n0\r\n\r\n",
        b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SOURCE /echo ICE/1.0\r\nHost: x\r\n\r\n",
        b"GET /health\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nHost: y\r\nContent-Length: 0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
        b"POST /echo HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ],
)
async def test_what_proxies_may_read_differently_is_refused_and_closed(data: bytes) -> None:
    """Both lengths, folding, bare line feeds, odd codings: one 400, and nothing after it is read."""
    async with listening() as ingress:
        answer = await say(ingress, data + post("/echo", b"smuggled"))
    assert answer.startswith(b"HTTP/1.1 4") or answer.startswith(b"HTTP/1.1 501"), answer
    assert answer.count(b"HTTP/1.1") == 1
    assert b"smuggled" not in answer


async def test_a_head_is_bounded_in_bytes_and_fields() -> None:
    """An endless head and a head of many fields are 431."""
    async with listening() as ingress:
        assert (await say(ingress, b"GET /health HTTP/1.1\r\nX: " + b"a" * 40_000)).startswith(b"HTTP/1.1 431 ")
        whole = b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"
        assert (await say(ingress, whole)).startswith(b"HTTP/1.1 431 ")
        many = b"".join(b"x%d: 1\r\n" % number for number in range(200))
        assert (await say(ingress, b"GET /health HTTP/1.1\r\n" + many + b"\r\n")).startswith(b"HTTP/1.1 431 ")


async def test_a_body_is_refused_before_it_is_held() -> None:
    """An announced length over the limit is 413 at once, an endless chunked body as soon as it is over."""
    async with listening() as ingress:
        assert (await say(ingress, post("/echo", b"x" * 1001))).startswith(b"HTTP/1.1 413 ")
        huge = b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
        assert (await say(ingress, huge)).startswith(b"HTTP/1.1 413 ")
        chunks = b"100\r\n" + b"x" * 256 + b"\r\n"
        endless = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks * 50
        assert (await say(ingress, endless)).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("part", [b"GET /hea", post("/echo", b"whole")[:-2], b""])
async def test_slow_clients_are_let_go(part: bytes) -> None:
    """Head, body and idle deadlines hold for a client that sends nothing more."""
    limits = Limits(head_s=0.05, body_s=0.05, idle_s=0.05)
    async with listening(limits=limits) as ingress:
        answer = await say(ingress, part)
    assert answer.startswith(b"HTTP/1.1 408 ") if part else answer == b""


async def test_a_full_house_closes_the_longest_idle_connection() -> None:
    """An idle keep-alive connection makes room; when all are busy the newcomer is told 503."""
    async with listening(max_connections=2) as ingress:
        idle, busy = await connect(ingress), await connect(ingress)
        await busy.send_all(b"POST /echo HTTP/1.1\r\n")
        await trio.testing.wait_all_tasks_blocked(0.02)
        newcomer = await connect(ingress)
        await newcomer.send_all(post("/echo", b"hi")[:-1])
        assert await everything(idle) == b""
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (await say(ingress, b"")).startswith(b"HTTP/1.1 503 ")
        for stream in (idle, busy, newcomer):
            await stream.aclose()


async def test_a_failing_handler_is_logged_and_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in one handler is a 500 to its client and a traceback in the log."""

    async def broken(_request: Request) -> Response:
        raise ZeroDivisionError

    async with listening() as ingress:
        ingress.add_route("POST", "/broken", broken)
        assert (await say(ingress, post("/broken", b""))).startswith(b"HTTP/1.1 500 ")
        assert (await say(ingress, post("/echo", b"hi"))).startswith(b"HTTP/1.1 200 ")
    assert "ZeroDivisionError" in caplog.text


async def test_draining_answers_what_is_under_way_and_takes_nothing_new() -> None:
    """A request begun before the drain gets its answer; idle connections end; new ones are refused."""
    release = trio.Event()

    async def slow(_request: Request) -> Response:
        await release.wait()
        return json_response(200)

    async with listening() as ingress:
        ingress.add_route("POST", "/slow", slow)
        idle, working = await connect(ingress), await connect(ingress)
        await working.send_all(post("/slow", b"", close=False))
        await trio.testing.wait_all_tasks_blocked(0.02)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ingress.drain)
            assert await everything(idle) == b""
            release.set()
            assert (await everything(working)).startswith(b"HTTP/1.1 200 ")
        with pytest.raises(OSError):
            await connect(ingress)
        await idle.aclose()
        await working.aclose()


async def test_an_address_in_use_says_what_to_do() -> None:
    """The error names the address and the next step, and is not final: the port may be given up."""
    async with listening() as ingress:
        with pytest.raises(ConflictError, match="cannot listen") as caught:
            await Ingress("127.0.0.1", ingress.port).run()
    assert "another host or port" in caught.value.next_step


async def test_an_address_that_is_not_ours_is_a_wrong_configuration() -> None:
    """192.0.2.1 is for documentation (RFC 5737): no machine has it."""
    with pytest.raises(ConfigError, match="cannot listen"):
        await Ingress("192.0.2.1", 0).run()


async def test_deadlines_do_not_need_a_busy_loop(autojump_clock: MockClock) -> None:
    """The default idle deadline is a minute of virtual time."""
    from hermesd.web.http11 import Connection

    ours, theirs = trio.testing.memory_stream_pair()
    began = trio.current_time()
    await Connection(ours, ignore, Limits(), on_idle=lambda _idle: None).serve()
    assert trio.current_time() - began == 60
    await theirs.aclose()

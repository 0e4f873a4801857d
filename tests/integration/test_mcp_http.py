"""MCP over HTTP with the official SDK's server in a process of its own, killed and stopped in the middle of things."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.errors import McpError
from hermesd.mcp.server import McpServer
from tests.servers.mcp_big import big_answers
from tests.servers.mcp_http import HttpServer, free_port, serving
from tests.standing_clock import standing_still
from tests.waiting import until

SOAK = bool(os.environ.get("HERMESD_SOAK"))
TOO_LONG_S = 1800.0 if SOAK else 300.0

# The SDK and the HTTP library leave async generators to the garbage collector when a stream is closed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"),
]

PROGRAM = Path(__file__).parents[1] / "servers" / "mcp_minimal.py"
MINIMAL = McpServerConfig(command=sys.executable, args=["-I", "-S", str(PROGRAM)])


@pytest.fixture(params=["streamable-http", "sse"])
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HttpServer]:
    with serving(tmp_path, request.param) as found:
        yield found


@pytest.fixture
def streamable(tmp_path: Path) -> Iterator[HttpServer]:
    with serving(tmp_path) as found:
        yield found


def server(remote: HttpServer, **more: object) -> McpServer:
    transport = "sse" if remote.transport == "sse" else "streamable"
    config = McpServerConfig(url=remote.url, transport=transport, **more)  # type: ignore[arg-type]  # as given
    return McpServer("default", "remote", config)


@asynccontextmanager
async def running(*servers: McpServer) -> AsyncIterator[trio.Nursery]:
    """The servers under their owners; all gone afterwards."""
    with trio.fail_after(TOO_LONG_S):
        async with trio.open_nursery() as nursery:
            for each in servers:
                await nursery.start(each.run)
            yield nursery
            nursery.cancel_scope.cancel()


async def restart(remote: HttpServer) -> None:
    """Kill it, let that be noticed by whoever listens, start it again."""
    remote.kill()
    await trio.testing.wait_all_tasks_blocked(0.05)
    await trio.to_thread.run_sync(remote.start)


async def test_a_server_that_was_restarted_answers_the_next_call(remote: HttpServer) -> None:
    """H1: in a new session, and the call is made once; within 1 s of the port being up, by the long form."""
    subject = server(remote)
    async with running(subject):
        await subject.call_tool("echo", {"text": "first"})
        took: list[float] = []
        for _ in range(100 if SOAK else 2):
            await restart(remote)
            started = time.perf_counter()
            answer = await subject.call_tool("count")
            took.append(time.perf_counter() - started)
            assert answer["content"][0]["text"] == "1"
        if SOAK:
            assert max(took) < 1.0


async def test_a_call_that_reached_a_server_is_never_made_again(streamable: HttpServer, tmp_path: Path) -> None:
    """H1: counted by the server, which is killed while the call is under way and takes calls again afterwards."""
    subject = server(streamable)
    notes = tmp_path / "notes"
    notes.touch()
    count = 100 if SOAK else 2
    async with running(subject):
        for number in range(count):
            errors: list[McpError] = []
            arguments = {"path": str(notes), "text": str(number), "seconds": 60.0}

            async def call(arguments: dict[str, object] = arguments, errors: list[McpError] = errors) -> None:
                with pytest.raises(McpError) as caught:
                    await subject.call_tool("note", arguments)
                errors.append(caught.value)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await until(lambda line=f"{number}\n": line in notes.read_text())  # type: ignore[misc]  # of this round
                await restart(streamable)
            assert [error.kind for error in errors] == ["down"]
            assert (await subject.call_tool("count"))["content"][0]["text"] == "1"
    assert notes.read_text().split() == [str(number) for number in range(count)]


async def test_a_call_under_way_is_told_when_the_server_is_killed(
    remote: HttpServer, tmp_path: Path, clock: MockClock
) -> None:
    """By its death, while no clock goes. It is not sent again: the server may have acted on it."""
    subject = server(remote)
    errors: list[McpError] = []
    notes = tmp_path / "notes"
    notes.touch()

    async def call() -> None:
        try:
            await subject.call_tool("note", {"path": str(notes), "text": "here", "seconds": 600.0})
        except McpError as error:
            errors.append(error)

    async with running(subject):
        assert await subject.wait_ready(30)
        with standing_still(clock):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call)
                await until(lambda: "here" in notes.read_text())
                remote.kill()
        assert [error.kind for error in errors] == ["down"]
    assert notes.read_text().split() == ["here"]


async def test_a_black_hole_holds_nobody(streamable: HttpServer, clock: MockClock) -> None:
    """H2: a user's cancel returns and others are answered while no clock goes; the teardown takes 3 s at most, by the
    long form.
    """
    subject, other = server(streamable), McpServer("default", "other", MINIMAL)
    async with running(subject, other):
        assert await subject.wait_ready(30)
        pid = (await other.call_tool("pid"))["content"][0]["text"]
        streamable.pause()
        with standing_still(clock):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(subject.call_tool, "echo", {"text": "x"})
                await trio.testing.wait_all_tasks_blocked(0.05)
                nursery.cancel_scope.cancel()
            assert (await other.call_tool("pid"))["content"][0]["text"] == pid
        with pytest.raises(McpError) as caught:
            await subject.call_tool("echo", {"text": "x"}, timeout_s=0.2)
        assert caught.value.kind == "timeout"
        started = time.perf_counter()
    if SOAK:
        assert time.perf_counter() - started < 3


async def test_a_call_while_the_server_is_down_waits_for_it(streamable: HttpServer) -> None:
    """It comes back in time: the call works; the caller's presence hastens the next try."""
    subject = server(streamable)
    async with running(subject) as nursery:
        await subject.call_tool("count")
        streamable.kill()
        nursery.start_soon(trio.to_thread.run_sync, streamable.start)
        answer = await subject.call_tool("count", timeout_s=30)
        assert answer["content"][0]["text"] == "1"


async def test_nobody_at_the_address_is_an_error_that_says_so() -> None:
    """After the wait that the caller allows."""
    config = McpServerConfig(url=f"http://127.0.0.1:{free_port()}/mcp")
    subject = McpServer("default", "remote", config)
    async with running(subject):
        with pytest.raises(McpError) as caught:
            await subject.call_tool("echo", {"text": "x"}, timeout_s=0.5)
        assert caught.value.kind == "down"
        assert "cannot be reached" in caught.value.what


async def test_one_failing_post_fails_its_own_call_only(streamable: HttpServer) -> None:
    """H4: an answer too long for its timeout breaks one connection; a call beside it is answered."""
    subject = server(streamable, max_concurrent_calls=2)
    answers: list[str] = []

    async def slow() -> None:
        answers.append((await subject.call_tool("sleep", {"seconds": 1.0}))["content"][0]["text"])

    async with running(subject):
        assert await subject.wait_ready(30)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(slow)
            await trio.testing.wait_all_tasks_blocked(0.05)
            with pytest.raises(McpError):
                await subject.call_tool("sleep", {"seconds": 30}, timeout_s=0.2)
            found = await subject.call_tool("none-such")
            assert found["isError"]
        assert answers == ["awake"]
        assert subject.restarts == 0


@pytest.mark.parametrize("tool", ["json", "sse"])
async def test_a_message_below_the_cap_is_taken_and_one_above_it_fails_its_own_call(tool: str) -> None:
    """P2 over HTTP: the cap is ``max_message_bytes`` there too, and the session goes on."""
    cap = 8_000_000
    with big_answers() as url:
        subject = McpServer("default", "big", McpServerConfig(url=url, max_message_bytes=cap))
        async with running(subject):
            answer = await subject.call_tool(tool, {"bytes": 6_000_000})
            assert len(answer["content"][0]["text"]) > 5_900_000
            with pytest.raises(McpError, match="8000000 byte") as caught:
                await subject.call_tool(tool, {"bytes": 10 * cap})
            assert caught.value.kind == "down"
            assert (await subject.call_tool(tool, {"bytes": 70_000}))["content"]
            assert subject.restarts == 0

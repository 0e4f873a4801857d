"""How long a call waits for a server that is not there, and how often the server is tried: all in virtual time."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.errors import McpError
from hermesd.mcp.following import POLL_S
from hermesd.mcp.server import PATIENCE_S, McpServer
from tests.servers.mcp_pretend import Pretend

SOAK = bool(os.environ.get("HERMESD_SOAK"))
MISSING = FileNotFoundError(2, "No such file or directory", "no-such-program")


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    return Pretend.instead(monkeypatch)


def program(name: str = "p", **more: object) -> McpServer:
    config = McpServerConfig(command="pretend", **more)  # type: ignore[arg-type]  # as given
    return McpServer("default", name, config, rng=random.Random(7))


def remote() -> McpServer:
    return McpServer("default", "r", McpServerConfig(url="http://pretend"), rng=random.Random(7))


@asynccontextmanager
async def running(*servers: McpServer) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        for each in servers:
            await nursery.start(each.run)
        yield
        nursery.cancel_scope.cancel()


async def refusal(subject: McpServer) -> tuple[McpError, float]:
    """What a call is told, and after how many seconds."""
    began = trio.current_time()
    with pytest.raises(McpError) as caught:
        await subject.call_tool("echo")
    return caught.value, trio.current_time() - began


async def test_a_program_that_is_not_there_is_told_at_once_and_tried_again_for_every_caller(
    autojump_clock: trio.testing.MockClock, world: Pretend
) -> None:
    """And as soon as it has been installed, the next call works."""
    world.failure = MISSING
    subject = program()
    async with running(subject):
        await trio.sleep(1000)
        for _ in range(5):
            before = len(world.starts)
            error, seconds = await refusal(subject)
            assert seconds < 0.1
            assert "no-such-program" in error.what
            assert "tried again in" in error.what
            assert len(world.starts) == before + 1
        world.up()
        assert (await subject.call_tool("echo"))["content"]


async def test_a_call_to_a_crash_loop_brings_one_try_forward_and_is_then_told(
    autojump_clock: trio.testing.MockClock, world: Pretend
) -> None:
    """Not after the connect timeout of 60 s."""
    world.failure = "exit"
    subject = program()
    async with running(subject):
        await trio.sleep(100)
        before = len(world.starts)
        error, seconds = await refusal(subject)
        assert seconds < 2
        assert len(world.starts) == before + 1
        assert "exited with status 3" in error.what


async def test_a_call_waits_for_a_program_that_comes_back(
    autojump_clock: trio.testing.MockClock, world: Pretend
) -> None:
    """It crashed three times within seconds; the try after that works, and answers the call that was waiting."""
    subject = program()
    async with running(subject):
        await subject.call_tool("echo")
        world.down("exit")
        while subject.state == "ready":
            await subject._changed.wait()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(subject.call_tool, "echo")
            await trio.sleep(2)
            world.up()
        assert trio.current_time() - began < PATIENCE_S


async def test_a_call_gives_up_at_the_connect_timeout_of_a_program_that_hangs(
    autojump_clock: trio.testing.MockClock, world: Pretend
) -> None:
    """With a sentence that says what it is waiting for."""
    world.failure = "hang"
    subject = program(connect_timeout=20.0)
    async with running(subject):
        error, seconds = await refusal(subject)
        assert seconds == pytest.approx(20, abs=1)
        assert "not available (connecting)" in error.what


async def test_a_call_waits_for_an_http_server_until_the_connect_timeout_and_once_more_later(
    autojump_clock: trio.testing.MockClock, world: Pretend
) -> None:
    """Young outages are waited for; from an old one the caller hears after one more try."""
    subject = remote()
    world.failure = McpError("cannot be reached", kind="down")
    async with running(subject):
        _, seconds = await refusal(subject)
        assert 30 < seconds <= 60
        await trio.sleep(1000)
        before = len(world.starts)
        _, seconds = await refusal(subject)
        assert seconds < 1
        assert len(world.starts) == before + 1
        world.up()
        began = trio.current_time()
        await subject.call_tool("echo")
        assert trio.current_time() - began < 1


@pytest.mark.parametrize("failure", ["exit", "hang"])
@pytest.mark.parametrize("calls", [False, True])
async def test_a_bad_program_is_started_12_times_in_5_minutes_at_most(
    autojump_clock: trio.testing.MockClock, world: Pretend, failure: str, calls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """S10: in any 5 minutes of two hours, though somebody calls it all the time; and ten lines of log a minute."""
    caplog.set_level(logging.INFO, "hermesd.mcp")
    world.failure = failure
    subject = program(connect_timeout=5.0)
    logged: list[float] = []

    class Noted(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            logged.append(trio.current_time())

    handler = Noted()
    logging.getLogger("hermesd.mcp").addHandler(handler)
    try:
        async with running(subject):
            end = trio.current_time() + 7200
            while trio.current_time() < end:
                if calls:
                    await refusal(subject)
                await trio.sleep(3)
    finally:
        logging.getLogger("hermesd.mcp").removeHandler(handler)
    assert most_within(world.starts, 300) <= 12
    assert len(world.starts) > 7200 / 75
    assert 0 < most_within(logged, 60) <= 10


def most_within(times: list[float], seconds: float) -> int:
    """The largest number of moments in any span of this length."""
    return max(sum(1 for other in times if begin <= other < begin + seconds) for begin in times)


def outages(count: int) -> Iterator[float]:
    rng = random.Random(11)
    yield 3600.0
    for _ in range(count - 1):
        yield rng.choice([rng.uniform(0, 5), rng.uniform(0, 300), rng.uniform(0, 7200)])


@pytest.mark.parametrize("make", [program, remote])
async def test_no_outage_is_so_long_that_a_server_is_given_up(
    autojump_clock: trio.testing.MockClock, world: Pretend, make: object
) -> None:
    """S11, long by HERMESD_SOAK=1: an hour and many random times; a session again within 60 s of the end of each."""
    subject = program() if make is program else remote()
    async with running(subject):
        for number, seconds in enumerate(outages(1000 if SOAK else 25)):
            await subject.call_tool("echo")
            world.down("exit" if number % 3 else MISSING)
            await trio.sleep(seconds)
            world.up()
            ended = trio.current_time()
            with trio.fail_after(60):
                while subject.state != "ready":
                    await subject._changed.wait()
            assert trio.current_time() - ended <= 60


async def test_a_list_is_asked_for_while_its_announcements_may_be_missed(
    autojump_clock: trio.testing.MockClock, world: Pretend
) -> None:
    """H3: within 60 s of losing the event stream, as long as there is none, and once more after it is back."""
    subject = remote()
    async with running(subject):
        await subject.call_tool("echo")
        link = world.live
        assert link is not None
        await trio.sleep(600)
        assert world.lists == 1
        link.hears = False
        link.gap.set()
        await trio.sleep(POLL_S + 1)
        assert world.lists == 2
        await trio.sleep(10 * POLL_S)
        assert world.lists == 12
        link.hears = True
        await trio.sleep(600)
        assert world.lists == 13

"""What ends a session, and what counts as a restart of a server, in virtual time."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.errors import McpError
from hermesd.mcp.server import McpServer
from tests.servers.mcp_pretend import Pretend


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    return Pretend.instead(monkeypatch)


@asynccontextmanager
async def running(**config: object) -> AsyncIterator[McpServer]:
    more = config or {"command": "pretend"}
    subject = McpServer("default", "s", McpServerConfig(**more), rng=random.Random(7))  # type: ignore[arg-type]  # as given
    async with trio.open_nursery() as nursery:
        await nursery.start(subject.run)
        yield subject
        nursery.cancel_scope.cancel()


async def test_a_server_that_was_never_up_was_never_restarted(
    autojump_clock: trio.testing.MockClock, world: Pretend
) -> None:
    """Neither by its schedule nor because many ask for it, which is as often as every quarter of a second."""
    world.failure = OSError("connection refused")
    async with running(url="http://pretend") as subject:
        for _ in range(5):
            with pytest.raises(McpError):
                await subject.call_tool("echo")
        await trio.sleep(1000)
        assert subject.failures == len(world.starts) > 20
        assert subject.restarts == 0
        world.up()
        await subject.call_tool("echo")
        assert subject.restarts == 0


async def test_a_crash_is_one_restart_however_many_tries_it_takes(
    autojump_clock: trio.testing.MockClock, world: Pretend
) -> None:
    """And the next crash is another."""
    async with running() as subject:
        await subject.call_tool("echo")
        for crashes in (1, 2):
            world.down("exit")
            await trio.sleep(300)
            assert subject.restarts == crashes
            world.up()
            await subject.call_tool("echo")
            assert subject.restarts == crashes
        assert subject.failures > 10


async def test_an_end_on_purpose_is_no_restart(autojump_clock: trio.testing.MockClock, world: Pretend) -> None:
    """An idle server that is called, and one that a person has connected anew."""
    async with running(command="pretend", lifecycle="lazy") as subject:
        await subject.call_tool("echo")
        await trio.sleep(1000)
        assert subject.state == "idle"
        await subject.call_tool("echo")
        subject.reconnect()
        await subject.call_tool("echo")
        assert len(world.starts) == 3
        assert subject.restarts == 0


@pytest.mark.parametrize(("answer", "is_lost"), [(ValueError("its list of tools is wrong"), False), (None, True)])
async def test_a_sign_of_life_need_not_make_sense(
    autojump_clock: trio.testing.MockClock, answer: Exception | None, is_lost: bool
) -> None:
    """Any answer is one; only silence loses the session."""
    asked = 0

    async def list_tools() -> None:
        nonlocal asked
        asked += 1
        if answer is not None:
            raise answer
        await trio.sleep_forever()

    subject = McpServer("default", "s", McpServerConfig(url="http://pretend", keepalive_interval=5))
    subject.era = "2026-07-28"
    session: Any = SimpleNamespace(list_tools=list_tools)
    link: Any = SimpleNamespace(lost=trio.Event(), why="")
    with trio.move_on_after(60):
        await subject._owner._keep_alive(session, link)
    assert asked > 3
    assert link.lost.is_set() is is_lost

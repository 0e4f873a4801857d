"""H3 and S10 over HTTP: a list that changes while its announcements are lost, and an event stream that spins."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from hermesd.config.schema import McpServerConfig
from hermesd.mcp import following
from hermesd.mcp.server import McpServer
from tests.servers.mcp_http import serving
from tests.servers.mcp_stream import streaming
from tests.standing_clock import standing_still

TOO_LONG_S = 120.0

# The SDK and the HTTP library leave async generators to the garbage collector when a stream is closed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"),
]


@asynccontextmanager
async def ready(url: str, era: str = "legacy") -> AsyncIterator[McpServer]:
    """A server under its owner, with a session; gone afterwards."""
    subject = McpServer("default", "remote", McpServerConfig(url=url, era=era))  # type: ignore[arg-type]  # one
    with trio.fail_after(TOO_LONG_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(subject.run)
            assert await subject.wait_ready(30)
            yield subject
            nursery.cancel_scope.cancel()


async def known(subject: McpServer, tool: str) -> None:
    """Return once the list of tools has it."""
    while tool not in [found["name"] for found in subject.tools]:
        await subject._changed.wait()


async def test_a_stream_that_was_cut_is_opened_again_and_heard() -> None:
    """H3: a change after the loss arrives by announcement."""
    async with streaming() as remote, ready(remote.url) as subject:
        await remote.until_gets(1)
        for number in (2,):
            await remote.cut()
            await remote.until_gets(number)
            remote.tools.append(f"tool{number}")
            await remote.announce()
            await known(subject, f"tool{number}")
        assert subject.restarts == 0


@pytest.mark.parametrize("stream", ["open", "refused"])
async def test_a_change_that_nobody_heard_of_is_found_by_asking(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """H3: announced while the stream was gone, or by a server that offers none."""
    monkeypatch.setattr(following, "POLL_S", 0.2)
    async with streaming(stream) as remote, ready(remote.url) as subject:
        await remote.until_gets(1)
        await remote.cut()
        remote.tools.append("unheard")
        await known(subject, "unheard")
        assert subject.restarts == 0


async def test_a_stream_that_spins_is_opened_ever_more_rarely(
    caplog: pytest.LogCaptureFixture, clock: MockClock
) -> None:
    """S10: ``retry: 0`` and closed at once; the calls beside it work, and the log stays short."""
    caplog.set_level(logging.INFO)
    async with streaming("spin") as remote, ready(remote.url) as subject:
        await remote.until_gets(1)
        with standing_still(clock):
            for pause_s in (2.0, 4.0, 8.0):
                before = remote.gets
                clock.jump(0.9 * pause_s)
                await subject.call_tool("echo")
                await trio.testing.wait_all_tasks_blocked(0.02)
                assert remote.gets == before
                clock.jump(0.2 * pause_s)
                await remote.until_gets(before + 1)
        assert remote.posts["initialize"] == 1
    assert len([record for record in caplog.records if record.name.startswith(("hermesd", "mcp"))]) <= 10


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_the_official_server_is_heard_in_both_eras(era: str, tmp_path: Path) -> None:
    """By its event stream up to 2025-11-25, by subscriptions/listen from 2026-07-28."""
    with serving(tmp_path) as remote:
        async with ready(remote.url, era) as subject:
            assert (subject.era >= "2026") == (era == "modern")
            while "grown" not in [found["name"] for found in subject.tools]:
                await subject.call_tool("grow")  # its stream is opened beside the calls, so the first may be missed
                with trio.move_on_after(1):
                    await known(subject, "grown")

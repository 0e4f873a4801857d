"""S10: what bad servers cost the good ones beside them. HERMESD_SOAK=1 watches for five minutes of real time."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path

import pytest
import trio

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.server import McpServer
from tests.servers.mcp_stream import streaming

SOAK = bool(os.environ.get("HERMESD_SOAK"))
MINIMAL = str(Path(__file__).parents[1] / "servers" / "mcp_minimal.py")
BAD = ("crash", "hang", "noise", "chatter", "flood")

# The SDK and the HTTP library leave async generators to the garbage collector when a stream is closed.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning"),
]


def program(name: str, *modes: str) -> McpServer:
    connect_s = 5.0 if modes else 60.0
    config = McpServerConfig(command=sys.executable, args=["-I", "-S", MINIMAL, *modes], connect_timeout=connect_s)
    return McpServer("default", name, config, tag="test:")


async def latencies(subjects: list[McpServer], seconds: float) -> list[float]:
    """Sorted seconds of calls to each in turn, ten milliseconds apart."""
    took: list[float] = []
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        for subject in subjects:
            began = time.perf_counter()
            await subject.call_tool("echo", {"text": "x"})
            took.append(time.perf_counter() - began)
            await trio.sleep(0.01)
    return sorted(took)


def at(share: float, times: list[float]) -> float:
    return times[int(len(times) * share)]


async def test_bad_servers_cost_good_ones_little(caplog: pytest.LogCaptureFixture) -> None:
    """S10: twenty good ones beside a crash loop, a hung initialise, floods on stdout and stderr, and ``retry: 0``."""
    caplog.set_level(logging.INFO)
    good = [program(f"good{n}") for n in range(20)]
    bad = [program(mode, mode) for mode in BAD]
    with trio.fail_after(600 if SOAK else 120):
        async with streaming("spin") as remote, trio.open_nursery() as nursery:
            for subject in good:
                await nursery.start(subject.run)
                assert await subject.wait_ready(30)
            alone = await latencies(good, 30.0 if SOAK else 2.0)
            bad.append(McpServer("default", "spin", McpServerConfig(url=remote.url)))
            caplog.clear()
            for subject in bad:
                await nursery.start(subject.run)
            beside = await latencies(good, 300.0 if SOAK else 4.0)
            nursery.cancel_scope.cancel()
    for share in (0.5, 0.99):
        print(f"{100 * share:g} % alone {1e3 * at(share, alone):.1f} ms, beside {1e3 * at(share, beside):.1f} ms")
    if SOAK:  # beside other programs it is their number that is measured
        assert at(0.99, beside) <= 2 * at(0.99, alone) + 0.1  # the factor alone: see the benchmarks
    assert [subject.restarts for subject in good] == [0] * 20
    for subject in bad:
        assert subject.failures <= 12
        lines = [each.created for each in caplog.records if each.getMessage().startswith(f"{subject.where}:")]
        assert all(sum(begin <= each < begin + 60 for each in lines) <= 10 for begin in lines)

"""MCP figures of the library part: what a kill, a call, a large line and a changed list cost, ours beside the bare SDK.

``python -m bench.mcp RUNS`` prints JSON. Times in seconds unless a name says otherwise; spans are [median, p99].
"""

from __future__ import annotations

import json
import logging
import os
import signal
import statistics
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from bench import mcp_servers
from bench.environments import NotAvailableError
from bench.measure import median, p99
from hermesd.config.schema import McpServerConfig
from hermesd.mcp import sdk
from hermesd.mcp.errors import McpError
from hermesd.mcp.server import McpServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from mcp import ClientSession

CALLS = 2000
QUICK_RUNS = 10
LINE_BYTES = 40_000_000
MANY = 50
CLOCK_ARGUMENTS = {"timezone": "UTC"}
NODE_CALL = ("echo", {"message": "x"})
MINIMAL_CALL = ("echo", {"text": "x"})


@asynccontextmanager
async def ours(command: Sequence[str], **more: Any) -> AsyncIterator[McpServer]:
    """A ready server under its owner."""
    config = McpServerConfig(command=command[0], args=list(command[1:]), **more)
    server = McpServer("default", "bench", config, tag="bench:")
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        if not await server.wait_ready(60):
            raise RuntimeError(server.last_error)
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def bare(command: Sequence[str]) -> AsyncIterator[ClientSession]:
    """A session of the SDK over its own stdio transport."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    parameters = StdioServerParameters(command=command[0], args=list(command[1:]))
    with Path(os.devnull).open("w") as nowhere:
        async with stdio_client(parameters, errlog=nowhere) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            yield session


def spread(times: list[float]) -> list[float]:
    return [median(times), p99(times)]


# -- kills -------------------------------------------------------------------------------------------------------------


async def told_in_mid_call(runs: int) -> dict[str, list[float]]:
    """From the kill of a server to the error of the call that it was busy with."""
    command, mine, theirs = mcp_servers.minimal(), [], []
    async with ours(command) as server:
        for _ in range(runs):
            await server.call_tool("pid")
            mine.append(await _time_to_error(server.pid, partial(server.call_tool, "sleep", {"seconds": 60})))
    for _ in range(max(3, runs // 8)):
        async with bare(command) as session:
            pid = int((await session.call_tool("pid", {})).content[0].text)
            theirs.append(await _time_to_error(pid, partial(session.call_tool, "sleep", {"seconds": 60})))
    return {"ours": spread(mine), "bare": spread(theirs)}


async def _time_to_error(pid: int, call: Callable[[], Awaitable[object]]) -> float:
    from mcp.shared.exceptions import MCPError

    async def wait() -> None:
        try:
            await call()
        except (McpError, MCPError):
            return
        raise RuntimeError("the call was answered")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await trio.sleep(0.05)
        began = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
    return time.perf_counter() - began


async def idle_kills(command: Sequence[str], call: tuple[str, dict[str, Any]], runs: int) -> dict[str, list[float]]:
    """From the kill of an idle server to its being noticed, and to the answer of the next call.

    ``started``: the bare SDK's time for a new process, the handshake and the same call, which it leaves to its user.
    """
    noticed, answered, started = [], [], []
    async with ours(command) as server:
        for _ in range(runs):
            await server.call_tool(*call)
            began = time.perf_counter()
            os.kill(server.pid, signal.SIGKILL)
            while server.state == "ready":
                await server._changed.wait()
            noticed.append(time.perf_counter() - began)
            await server.call_tool(*call)
            answered.append(time.perf_counter() - began)
    for _ in range(max(3, runs // 8)):
        began = time.perf_counter()
        async with bare(command) as session:
            await session.call_tool(*call)
            started.append(time.perf_counter() - began)
    return {"noticed": spread(noticed), "answered": spread(answered), "started": spread(started)}


# -- calls -------------------------------------------------------------------------------------------------------------


async def calls() -> dict[str, float]:
    """Our process's own processor time for a call, in microseconds: medians of rounds taken in turn."""
    rounds = 10
    command, mine, theirs = mcp_servers.minimal(), [], []
    async with ours(command) as server, bare(command) as session:
        for turn in range(rounds + 1):
            found = [
                await _cpu_us(partial(each.call_tool, *MINIMAL_CALL), CALLS // rounds) for each in (server, session)
            ]
            if turn:  # the first warms up
                mine.append(found[0])
                theirs.append(found[1])
    added = statistics.median(one - other for one, other in zip(mine, theirs, strict=True))
    return {"ours_us": median(mine), "bare_us": median(theirs), "added_us": added}


async def _cpu_us(call: Callable[[], Awaitable[object]], count: int) -> float:
    began = time.process_time()
    for _ in range(count):
        await call()
    return (time.process_time() - began) / count * 1e6


async def large_line() -> dict[str, float]:
    """An answer of 40 MB in one line. The bare SDK's time grows with the square, so it is asked once."""
    command = mcp_servers.minimal()
    times = []
    async with ours(command) as server:
        for _ in range(3):
            began = time.perf_counter()
            await server.call_tool("big", {"bytes": LINE_BYTES})
            times.append(time.perf_counter() - began)
    async with bare(command) as session:
        began = time.perf_counter()
        await session.call_tool("big", {"bytes": LINE_BYTES})
        return {"ours": median(times), "bare": time.perf_counter() - began}


async def changed_list(runs: int) -> list[float]:
    """From a call whose server says list_changed five times to the new tool in our list."""
    took = []
    async with ours(mcp_servers.minimal()) as server:
        for _ in range(runs):
            count = len(server.tools)
            began = time.perf_counter()
            await server.call_tool("more")
            while len(server.tools) == count:
                await server._changed.wait()
            took.append(time.perf_counter() - began)
    return spread(took)


async def bare_together() -> float:
    """Fifty minimal servers of the bare SDK, each in a task of its own, until the last has answered."""
    command = mcp_servers.minimal()
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        left, over = MANY, trio.Event()

        async def one() -> None:
            nonlocal left
            async with bare(command):
                left -= 1
                if not left:
                    over.set()
                await trio.sleep_forever()

        for _ in range(MANY):
            nursery.start_soon(one)
        await over.wait()
        took = time.perf_counter() - began
        nursery.cancel_scope.cancel()
    return took


def bare_import(runs: int) -> float:
    """What a program pays for the SDK before its first session, in a process of its own."""
    program = "import time\nbegan = time.perf_counter()\nimport mcp\nprint(time.perf_counter() - began)"
    said = [subprocess.check_output([sys.executable, "-c", program]) for _ in range(max(3, runs // 8))]
    return median([float(each) for each in said])


# -- HTTP --------------------------------------------------------------------------------------------------------------


async def http_restarts(runs: int) -> list[float]:
    """From the port of a killed and restarted server being open again to the answer of the next call."""
    import tempfile

    from tests.servers.mcp_http import serving

    took = []
    with tempfile.TemporaryDirectory() as directory, serving(Path(directory)) as remote:
        server = McpServer("default", "bench", McpServerConfig(url=remote.url))
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await server.call_tool("count")
            for _ in range(runs):
                remote.kill()
                await trio.to_thread.run_sync(remote.start)
                began = time.perf_counter()
                await server.call_tool("count")
                took.append(time.perf_counter() - began)
            nursery.cancel_scope.cancel()
    return spread(took)


async def neighbours(phase_s: float) -> dict[str, float]:
    """S10: the p99 of calls to twenty good servers, alone (before and after) and beside five bad ones as they start."""
    async with trio.open_nursery() as nursery:
        good = [_server(f"good{number}") for number in range(20)]
        for server in good:
            await nursery.start(server.run)
            await server.wait_ready(60)
        before = await _latencies(good, phase_s)
        async with trio.open_nursery() as beside:
            for mode in ("crash", "hang", "noise", "chatter", "flood"):
                await beside.start(_server(mode, mode).run)
            found = await _latencies(good, 2 * phase_s)
            beside.cancel_scope.cancel()
        alone = before + await _latencies(good, phase_s)
        nursery.cancel_scope.cancel()
    return {"alone": p99(alone), "beside": p99(found)}


def _server(name: str, *modes: str) -> McpServer:
    command = mcp_servers.minimal(*modes)
    config = McpServerConfig(command=command[0], args=command[1:], connect_timeout=5.0)
    return McpServer("default", name, config, tag="bench:")


async def _latencies(servers: list[McpServer], seconds: float) -> list[float]:
    took = []
    end = trio.current_time() + seconds
    while trio.current_time() < end:
        for server in servers:
            began = time.perf_counter()
            await server.call_tool(*MINIMAL_CALL)
            took.append(time.perf_counter() - began)
            await trio.sleep(0.005)
    return took


async def main(runs: int) -> None:
    logging.getLogger("hermesd.mcp").setLevel(logging.ERROR)
    await sdk.load(http=True)
    found: dict[str, Any] = {
        "mid_call": await told_in_mid_call(runs),
        "minimal": await idle_kills(mcp_servers.minimal(), MINIMAL_CALL, runs),
        "calls": await calls(),
        "large_line": await large_line(),
        "changed_list": await changed_list(max(3, runs // 4)),
        "bare_together": await bare_together(),
        "bare_import": bare_import(runs),
        "neighbours": await neighbours(15.0 if runs > QUICK_RUNS else 2.0),
        "http": await http_restarts(max(2, runs // 8)),
    }
    for name, make, call in (
        ("everything", mcp_servers.everything, NODE_CALL),
        ("clock", mcp_servers.clock, ("get_current_time", CLOCK_ARGUMENTS)),
    ):
        try:
            found[name] = await idle_kills(make(), call, max(3, runs // 8))
        except NotAvailableError as error:
            found[name] = str(error)
    json.dump(found, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))

"""The end of a server's process."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hermesd.mcp.process import ServerProcess
from hermesd.tools.terminal.local import Spawn

DEAF = "import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()"


async def test_a_server_is_killed_also_when_the_time_for_it_went_by_at_once(
    tmp_path: Path, mock_clock: MockClock
) -> None:
    """As on a machine that stood still: it heeds neither the end of its input nor SIGTERM, and is not left running."""
    process = ServerProcess(Spawn([sys.executable, "-I", "-S", "-c", DEAF], tmp_path, dict(os.environ), "t:1"))
    await trio.lowlevel.wait_readable(process.stdout)
    status = 0

    async def end() -> None:
        nonlocal status
        status = await process.end()

    async with trio.open_nursery() as ending:
        ending.start_soon(end)
        await wait_all_tasks_blocked()
        mock_clock.jump(3600)
        mock_clock.rate = 1.0
    assert status == -signal.SIGKILL
    assert not Path(f"/proc/{process.pid}").exists(), "it has been reaped too"

"""A control panel over a real store, and a way to run a verb on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio

from hermesd.rpc.console import run
from hermesd.rpc.wire import ConsoleParams, ConsoleResult
from tests.servers.panel import Panel

Console = Callable[..., Awaitable[ConsoleResult]]


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """Its store runs as the service it is."""
    found = Panel.open(tmp_path / "home")
    async with trio.open_nursery() as nursery:
        await nursery.start(found.store.run)
        yield found
        nursery.cancel_scope.cancel(reason="the test is over")
    found.store.close()


@pytest.fixture
def console(panel: Panel) -> Console:
    """``await console("sessions", "list")``."""

    async def call(*argv: str, width: int = 100, color: bool = False) -> ConsoleResult:
        return await run(ConsoleParams(argv=list(argv), width=width, color=color), panel, "read")

    return call

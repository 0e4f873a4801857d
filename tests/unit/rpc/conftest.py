"""A served panel for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.servers.served import Served, Wire, serve


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """An RPC server over a real store, in this process."""
    async with serve(tmp_path / "home") as found:
        yield found


@pytest.fixture
async def wire(served: Served) -> Wire:
    """A connection to it."""
    return await served.connect()

"""Fixtures of the tests of what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from trio.testing import MockClock

from hermesd.mcp.oauth.storage import TokenStorage
from tests.servers.hostile import Hostile, hostile_server
from tests.standing_clock import running_clock


@pytest.fixture
def clock() -> MockClock:
    """The loop's clock, which a test may stop (``standing_still``); it goes with real time otherwise."""
    return running_clock()


@pytest.fixture
def hostile() -> Iterator[Hostile]:
    """A server that answers what the test tells it to."""
    with hostile_server() as server:
        yield server


@pytest.fixture
def storage(tmp_path: Path) -> TokenStorage:
    """The files of the sign-in at one server; none of them is there yet."""
    return TokenStorage(tmp_path / "mcp-tokens", "srv")

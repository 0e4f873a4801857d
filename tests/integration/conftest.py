"""Fixtures of the tests with real processes and sockets."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.standing_clock import running_clock


@pytest.fixture
def clock() -> MockClock:
    """The loop's clock, which a test may stop (``standing_still``); it goes with real time otherwise."""
    return running_clock()

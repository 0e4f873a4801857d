"""What one server may put into the log."""

from __future__ import annotations

import logging

import pytest
import trio
import trio.testing

from hermesd.mcp.serverlog import THEIRS, WINDOW_S, ServerLog


async def test_a_flood_is_ten_lines_a_minute_with_ours_among_them(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The server's own words leave room for what we say of it, and what was left out is counted."""
    caplog.set_level(logging.INFO, "hermesd.mcp")
    log = ServerLog("mcp/loud")
    for _ in range(10_000):
        log.theirs("flood")
    assert len(caplog.records) == THEIRS
    for number in range(100):
        log.ours(f"failure {number}")
    assert len(caplog.records) <= 10
    assert any(record.getMessage() == "mcp/loud: failure 0" for record in caplog.records)
    await trio.sleep(WINDOW_S + 1)
    caplog.clear()
    log.theirs("afterwards")
    dropped, afterwards = (record.getMessage() for record in caplog.records)
    assert "more lines were not logged" in dropped
    assert afterwards == "mcp/loud: afterwards"

"""SIGKILL, 500 times: nothing accepted is lost, nothing is processed twice, no reply is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness import run

KILLS = 500
ROUNDS = 10


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_nothing_is_lost_or_done_twice_however_often_the_daemon_is_killed(tmp_path: Path, seed: int) -> None:
    """Random moments and named failpoints, under load from a webhook, RPC and Telegram."""
    report = run(tmp_path, KILLS // ROUNDS, seed)
    assert report.lost == []
    assert report.twice == []
    assert report.replies_lost == []
    assert report.repeats_processed == []
    assert report.kills == KILLS // ROUNDS
    assert report.accepted >= report.kills

"""SIGKILL, 500 times: nothing accepted is lost, nothing is processed twice, no reply is lost.

Half of them in every run of the tests, the others in continuous integration (`make long`); `make kill` deals 10,000.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.harness import run

KILLS = 500
ROUNDS = 10
SEEDS = [*range(ROUNDS // 2), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(ROUNDS // 2, ROUNDS))]


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_or_done_twice_however_often_the_daemon_is_killed(tmp_path: Path, seed: int) -> None:
    """Random moments and named failpoints, under load from a webhook, RPC and Telegram."""
    report = run(tmp_path, KILLS // ROUNDS, seed)
    assert report.lost == []
    assert report.twice == []
    assert report.replies_lost == []
    assert report.repeats_processed == []
    assert report.kills == KILLS // ROUNDS
    assert report.accepted >= report.kills

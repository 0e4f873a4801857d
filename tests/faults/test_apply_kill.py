"""SIGKILL in the midst of an apply: the same apply goes on from there, and ends where an undisturbed one does."""

from __future__ import annotations

from typing import Any

import pytest

from hermesd.failpoint import OF_APPLY
from tests.servers.daemon import Daemon

FULL = """\
version: 1
profiles: {team: {description: A team, jobs: {Standup: {schedule: '@daily', prompt: Ask.}}}}
webhooks: {alerts: {prompt: '{text}'}}
mcp_servers: {notes: {command: notes-server, enabled: false}}
jobs: {Tidy: {schedule: every 6h, prompt: Tidy up.}, After: {schedule: every 1h, prompt: Go on., context_from: Tidy}}
"""
EMPTY = "version: 1\n"
ROUNDS = [
    (FULL, "apply.noted"),
    (EMPTY, "apply.noted"),
    (FULL, "apply.profiles"),
    (EMPTY, "apply.written"),
    (FULL, "apply.written"),
    (EMPTY, "apply.committed"),
    (FULL, "apply.reloaded"),
    (EMPTY, "apply.removed"),
    (FULL, "apply.committed"),
]
OWN = {"jobs": ["Own"], "routes": ["own"], "servers": [], "profiles": ["default"]}
ALL = {
    "jobs": ["After", "Own", "Standup", "Tidy"],
    "routes": ["alerts", "own"],
    "servers": ["notes"],
    "profiles": ["default", "team"],
}


def state(daemon: Daemon) -> dict[str, list[str]]:
    """What there is, by name."""
    return {
        "jobs": sorted(job["name"] for job in daemon.call("cron.list", all=True)["jobs"]),
        "routes": sorted(route["name"] for route in daemon.call("webhook.list")["routes"]),
        "servers": sorted(server["name"] for server in daemon.call("mcp.list")["servers"]),
        "profiles": sorted(profile["name"] for profile in daemon.call("profile.list")["profiles"]),
    }


def plan(daemon: Daemon, text: str) -> dict[str, Any]:
    return daemon.call("routines.plan", files=[{"name": "routines.yaml", "text": text}])


def apply(daemon: Daemon, text: str) -> None:
    files = [{"name": "routines.yaml", "text": text}]
    daemon.call("routines.apply", files=files, revision=plan(daemon, text)["revision"])


def test_an_apply_that_is_killed_is_completed_by_the_next(daemon: Daemon) -> None:
    """After the files are written, after the rows are gone, after a profile is made; nobody else's is touched."""
    check(daemon, [(FULL, "apply.written"), (EMPTY, "apply.committed"), (FULL, "apply.profiles")])


@pytest.mark.long
def test_an_apply_is_completed_from_each_of_its_points(daemon: Daemon) -> None:
    """Making everything and removing everything in turn."""
    assert {point for _, point in ROUNDS} == set(OF_APPLY)
    check(daemon, ROUNDS)


def check(daemon: Daemon, rounds: list[tuple[str, str]]) -> None:
    daemon.write_config("platforms: {webhook: {port: 0, routes: {own: {secret: '${OWN}'}}}}\n", env="OWN=0wn-s3cret\n")
    daemon.start()
    daemon.call("cron.create", fields={"schedule": "@daily", "prompt": "Mine.", "name": "Own"})
    assert daemon.stop() == 0
    for text, point in rounds:
        daemon.start(HERMESD_FAILPOINT=point)
        with pytest.raises(ConnectionError):
            apply(daemon, text)
        assert daemon.wait() == -9, point
        daemon.start()
        left = plan(daemon, text)
        assert not left["conflicts"], f"{point}: {left}"
        apply(daemon, text)
        assert state(daemon) == (ALL if text is FULL else OWN), point
        again = plan(daemon, text)
        assert (again["pending"], again["changes"]) == (0, []), point
        daemon.kill()

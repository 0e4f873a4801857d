"""Two daemons on one home, and what a killed one leaves behind."""

from __future__ import annotations

from typing import Any

import pytest

from hermesctl.client import Client
from tests.servers.daemon import Daemon


def test_the_second_daemon_on_a_home_exits_with_the_pid_of_the_first(daemon: Daemon) -> None:
    """A failure, not a refusal that looks like success; the first goes on unharmed."""
    daemon.start()
    second = Daemon(daemon.home)
    second.start(wait=False)
    assert second.wait() == 1
    assert f"a hermesd with pid {daemon.pid} already runs" in daemon.output
    with Client.connect(daemon.home) as client:
        assert client.status().pid == daemon.pid


def test_a_killed_daemon_leaves_nothing_in_the_way_of_the_next(daemon: Daemon) -> None:
    """Its pid file and its socket are still there, and count for nothing."""
    daemon.start()
    first = daemon.pid
    daemon.kill()
    assert (daemon.home / "hermesd.pid").read_text() == f"{first}\n"
    assert daemon.socket_path.exists()
    daemon.start()
    with Client.connect(daemon.home) as client:
        assert client.status().pid == daemon.pid


def test_a_message_is_answered_once_and_a_repeat_after_a_kill_gets_the_same_answer(daemon: Daemon) -> None:
    """By the whole daemon with the offline model: accepted, streamed, stored, marked sent."""
    daemon.start()
    kinds: list[str] = []
    with Client.connect(daemon.home) as client:
        first = client.chat("hello", lambda update: kinds.append(update.kind), delivery_id="d1")
    assert (first.state, first.duplicate) == ("done", False)
    assert first.text
    assert kinds[:2] == ["accepted", "started"]
    daemon.kill()
    daemon.start()
    with Client.connect(daemon.home) as client:
        again = client.chat("hello", delivery_id="d1")
        assert (again.text, again.turn, again.duplicate) == (first.text, first.turn, True)
        with pytest.raises(MarkedSentError):  # follows the answer, so it is waited for
            client.stream("events.watch", {}, until_sent)


class MarkedSentError(Exception):
    """The event that was waited for."""


def until_sent(update: dict[str, Any]) -> None:
    if update["event"]["kind"] == "outbox.sent":
        raise MarkedSentError

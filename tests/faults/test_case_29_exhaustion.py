"""Case 29: no descriptors, no processes, a child killed as memory runs out: the tree survives and errors are told."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from pathlib import Path

import pytest

from tests.faults.blackbox import Refusals, build_refusals, inbox, log_of, restarted, services
from tests.servers.daemon import Daemon

ALLOWED = "policy: {unsafe: allow, tools: {terminal: allow}}\n"


def limit_descriptors(daemon: Daemon, more: int) -> None:
    """Let the daemon open so many more than it has open now."""
    used = max(int(entry.name) for entry in Path(f"/proc/{daemon.pid}/fd").iterdir()) + 1
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + more, 4096))


def test_a_daemon_without_descriptors_runs_its_turns_and_recovers(daemon: Daemon) -> None:
    """Clients fill the table while turns run and arrive; no service fails for good, nothing accepted is lost."""
    daemon.write_config(ALLOWED)
    daemon.start()
    with daemon.connect() as wire, log_of(daemon) as log, contextlib.ExitStack() as crowd:
        slow = wire.send("chat.send", text="slow 10", delivery_id="d-1")
        wire.until("chat.update", kind="text")
        limit_descriptors(daemon, 4)
        for _ in range(12):
            client = crowd.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(daemon.socket_path))
        log.until("no more connections can be accepted")
        assert wire.result(slow)["state"] == "done"
        tool = wire.call("chat.send", text="$ echo fine", delivery_id="d-2")
        assert tool["state"] in ("done", "failed")
        assert "Too many open files" in tool["text"]
        assert wire.call("chat.send", text="hello", delivery_id="d-3")["state"] == "done"
        crowd.close()
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (1024, 4096))
    assert "fine" in daemon.call("chat.send", text="$ echo fine", delivery_id="d-4", quiet=True)["text"]
    assert {row["state"] for row in services(daemon).values()} == {"ready"}
    assert len(inbox(daemon)) == 4
    assert daemon.stop() == 0


def test_a_fork_that_is_refused_is_told_to_the_model_and_the_next_one_works(daemon: Daemon, tmp_path: Path) -> None:
    """Fault injection: fork(2) fails with EAGAIN, as at a limit of processes."""
    refusals = Refusals(build_refusals(tmp_path), tmp_path / "refusals")
    daemon.write_config(ALLOWED)
    daemon.start(**refusals.env)
    refusals.forks(errno.EAGAIN)
    refused = daemon.call("chat.send", text="$ echo fine", quiet=True)
    assert refused["state"] == "done"
    assert os.strerror(errno.EAGAIN) in refused["text"]
    refusals.forks(0)
    assert "fine" in daemon.call("chat.send", text="$ echo fine", quiet=True)["text"]
    assert restarted(daemon) == []


@pytest.mark.parametrize("command", ["kill -9 $$", "sleep 60 & kill -9 0"])
def test_a_command_killed_as_by_the_oom_killer_is_reported_as_killed(daemon: Daemon, command: str) -> None:
    """SIGKILL from outside: the turn goes on and names the signal; nothing of the command is left."""
    daemon.write_config(ALLOWED)
    daemon.start()
    result = daemon.call("chat.send", text=f"$ {command}", quiet=True)
    assert result["state"] == "done"
    assert "SIGKILL" in result["text"] or "signal 9" in result["text"]
    assert restarted(daemon) == []
    assert not Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()

"""Case 24: the disk refuses under a running daemon. Nothing is acknowledged, reads go on, it recovers unaided."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.faults.blackbox import (
    Refusals,
    build_refusals,
    doctor,
    events,
    fill,
    free_port,
    inbox,
    log_of,
    post,
    restarted,
    run_gateway,
    services,
    small_disk,
    telegram_config,
    webhook_config,
)
from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.daemon import Daemon, RpcFailure

STORE_ERROR = -32007


@pytest.fixture
def refusals(tmp_path: Path) -> Refusals:
    """Fault injection: a preloaded library refuses SQLite's writes while it is told to."""
    return Refusals(build_refusals(tmp_path), tmp_path / "refusals")


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as running:
        yield running


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=errno.errorcode.get)
def test_a_disk_that_refuses_gives_503_and_store_errors_and_the_daemon_goes_on_by_itself(
    daemon: Daemon, platform: Crabline, refusals: Refusals, error: int
) -> None:
    """Webhook 503 before the ack, RPC an error with a next step, Telegram's offset stays; then all of it is done."""
    port = free_port()
    daemon.write_config(
        "platforms:\n" + webhook_config(port) + telegram_config(platform.base_url),
        env=f"TELEGRAM_BOT_TOKEN={platform.token}\n",
    )
    run_gateway(daemon)
    daemon.start(**refusals.env)
    with events(daemon) as watch, log_of(daemon) as log:
        log.until("profile/default/telegram is ready")
        assert post(port, "hello before", "d-1")[0] == 202
        watch.until("outbox.sent", platform="local")
        refusals.writes(error)

        status, _, headers = post(port, "hello during", "d-2")
        assert status == 503
        assert int(headers["retry-after"]) > 0
        with pytest.raises(RpcFailure) as refused:
            daemon.call("chat.send", text="hello", delivery_id="r-1")
        assert refused.value.code == STORE_ERROR
        assert refused.value.error["data"]["next_step"]
        platform.say("hello from telegram")
        log.until("telegram of default")
        assert [row["delivery_id"] for row in inbox(daemon)] == ["d-1"]
        assert daemon.call("daemon.status")["pid"] == daemon.pid
        assert daemon.call("sessions.list")["sessions"]
        assert "store" in doctor(daemon)
        assert daemon.ctl("tree").returncode == 0

        refusals.writes(0)
        watch.until("outbox.sent", platform="telegram")
        assert post(port, "hello during", "d-2")[0] == 202
        assert daemon.call("chat.send", text="hello", delivery_id="r-1", quiet=True)["state"] == "done"
    assert "You wrote: 'hello from telegram'" in platform.shown()[-1]
    assert "store" not in doctor(daemon)
    assert restarted(daemon) == []
    assert daemon.stop() == 0


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_turn_under_way_waits_for_the_disk_and_is_then_answered(
    daemon: Daemon, refusals: Refusals, error: int
) -> None:
    """It stands still rather than lose its place; its client sees nothing but a later answer."""
    daemon.start(**refusals.env)
    with daemon.connect() as wire, log_of(daemon) as log:
        request = wire.send("chat.send", text="slow 3")
        wire.until("chat.update", kind="text")
        refusals.writes(error)
        log.until("the store refused, trying again")
        refusals.writes(0)
        assert wire.result(request)["state"] == "done"
    assert [row["state"] for row in inbox(daemon)] == ["done"]


@pytest.mark.parametrize("by", ["signal", "command", "file"])
def test_a_reload_while_the_disk_refuses_is_applied_and_ends_nothing(
    daemon: Daemon, refusals: Refusals, by: str
) -> None:
    """The new configuration is in force though its event cannot be recorded; the log says so."""
    daemon.start(**refusals.env)
    with log_of(daemon) as log:
        refusals.writes(errno.ENOSPC)
        daemon.write_config("agent: {max_turns: 3}\n")
        if by == "signal":
            os.kill(daemon.pid, signal.SIGHUP)
        elif by == "command":
            assert daemon.ctl("reload").returncode == 0
        log.until("new configuration of default in force")
        assert daemon.call("config.show", key="agent.max_turns")["value"] == 3
        refusals.writes(0)
        assert daemon.call("chat.send", text="hello", quiet=True)["state"] == "done"
    assert restarted(daemon) == []
    assert daemon.stop() == 0


def test_a_stop_while_the_disk_refuses_is_bounded_and_the_turn_is_taken_up_again(
    daemon: Daemon, refusals: Refusals
) -> None:
    """The turn cannot be put back in the store; the next start finds it there all the same."""
    daemon.write_config("shutdown: {drain_s: 0.2, stop_s: 1}\n")
    daemon.start(**refusals.env)
    with daemon.connect() as wire:
        wire.send("chat.send", text="slow 5", delivery_id="d-1")
        wire.until("chat.update", kind="text")
        refusals.writes(errno.ENOSPC)
        daemon.stop()  # raises TimeoutExpired if the store goes on trying
    refusals.writes(0)
    daemon.start(**refusals.env)
    assert daemon.call("chat.send", text="slow 5", delivery_id="d-1", quiet=True)["state"] == "done"
    assert len(inbox(daemon)) == 1


def test_a_full_file_system_is_survived_and_freed_space_is_enough(tmp_path: Path) -> None:
    """A real tmpfs: log, store and state files have no room at all; then the ballast is removed."""
    port = free_port()
    with small_disk(tmp_path / "disk", "3m") as disk:
        daemon = Daemon(disk / "home")
        daemon.home.mkdir(mode=0o700)
        daemon.write_config("platforms:\n" + webhook_config(port))
        run_gateway(daemon)
        try:
            daemon.start()
            with events(daemon) as watch:
                assert post(port, "hello before", "d-1")[0] == 202
                watch.until("outbox.sent")
                ballast = fill(disk)
                accepted = 0
                while (status := post(port, "x" * 20_000, f"f-{accepted}")[0]) == 202:
                    accepted += 1  # what the log had room for
                assert status == 503
                assert daemon.call("sessions.list")["sessions"]
                assert doctor(daemon)["store"]["verdict"] == "problem"
                assert daemon.ctl("status").returncode == 0
                ballast.unlink()
                assert post(port, "hello after", "d-2")[0] == 202
                for _ in range(accepted + 1):
                    watch.until("outbox.sent")
            assert {row["state"] for row in services(daemon).values()} == {"ready"}
            assert daemon.stop() == 0
        finally:
            daemon.kill()


def test_a_daemon_started_on_a_full_disk_serves_reads_and_writes_once_there_is_space(tmp_path: Path) -> None:
    """What it does first of all, forgetting old rows, is refused: that is no reason to end."""
    with small_disk(tmp_path / "disk", "3m") as disk:
        daemon = Daemon(disk / "home")
        daemon.home.mkdir(mode=0o700)
        try:
            daemon.start()
            daemon.call("chat.send", text="hello", quiet=True)
            with contextlib.closing(apsw.Connection(str(daemon.home / "state.db"))) as db:
                db.set_busy_timeout(10_000)
                db.execute("UPDATE events SET at = 0")  # old enough to be forgotten
            daemon.kill()
            ballast = fill(disk)
            daemon.start()
            with pytest.raises(RpcFailure) as refused:
                for number in range(100):
                    daemon.call("chat.send", text="x" * 20_000, delivery_id=f"d-{number}", wait=False)
            assert refused.value.code == STORE_ERROR
            assert daemon.call("sessions.list")["sessions"]
            ballast.unlink()
            assert daemon.call("chat.send", text="hello", quiet=True)["state"] == "done"
            assert daemon.stop() == 0
        finally:
            daemon.kill()


def test_a_start_that_the_disk_refuses_names_the_file_and_what_to_do(daemon: Daemon, refusals: Refusals) -> None:
    """Before the daemon is up there is nobody to serve: it ends with a sentence, not with a traceback."""
    refusals.writes(errno.ENOSPC)
    daemon.start(wait=False, **refusals.env)
    assert daemon.wait(60) == 1
    assert "Traceback" not in daemon.output
    assert "hermesd.pid: No space left on device" in daemon.output
    assert "→" in daemon.output
    refusals.writes(0)
    daemon.start(**refusals.env)

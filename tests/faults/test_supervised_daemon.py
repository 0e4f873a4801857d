"""Supervision seen from outside: what breaks is held, named, and bothers nobody else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.faults.blackbox import (
    doctor,
    free_port,
    log_of,
    post,
    run_gateway,
    services,
    telegram_config,
    webhook_config,
)
from tests.servers.daemon import Daemon

NEIGHBOURS = 20

BLOCKING = """\
# Fault injection: telegram's service blocks the loop once, as a library that does not know of Trio would.
import time
import hermesd.gateway.platforms.telegram as telegram

def block_the_loop():
    time.sleep(1.0)

async def run(self, *, task_status):
    task_status.started()
    block_the_loop()
    import trio
    await trio.sleep_forever()

telegram.Telegram.run = run
"""


def put_neighbours(daemon: Daemon) -> list[str]:
    names = [f"n{number:02d}" for number in range(NEIGHBOURS)]
    for name in names:
        daemon.write_config("agent: {max_turns: 5}\n", profile=name)
    (daemon.home / "profiles").chmod(0o700)
    return names


@pytest.mark.parametrize("fault", ["port in use", "dead server"])
def test_a_platform_that_cannot_start_is_held_and_twenty_other_profiles_notice_nothing(
    daemon: Daemon, fault: str
) -> None:
    """In the tree with its state and its error; the others answer and have not been restarted."""
    names = put_neighbours(daemon)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1] if fault == "port in use" else free_port()
        if fault == "port in use":
            daemon.write_config("platforms:\n" + webhook_config(port))
            subject, reason = f"http:{port}", "in use"
        else:
            base_url = f"http://127.0.0.1:{port}"
            daemon.write_config("platforms:\n" + telegram_config(base_url), env="TELEGRAM_BOT_TOKEN=1:a\n")
            subject, reason = "profile/default/telegram", "connect"
        run_gateway(daemon)
        daemon.start()
        with log_of(daemon) as log:
            if fault == "port in use":
                log.until(f"{subject} is backoff")
                found = services(daemon)[subject]
                assert found["state"] in ("backoff", "starting")
                assert reason in found["last_error"].lower()
                assert subject in daemon.ctl("tree").stdout
                assert subject in doctor(daemon)
            else:
                assert reason in log.until("telegram of default")["message"].lower()
                assert services(daemon)[subject]["state"] in ("starting", "backoff")
        for name in names:
            assert daemon.call("chat.send", profile=name, text="hello", quiet=True)["state"] == "done"
        others = {path: row for path, row in services(daemon).items() if path.startswith("profile/n")}
        assert len(others) >= 4 * NEIGHBOURS
        assert {(row["state"], row.get("restarts", 0)) for row in others.values()} == {("ready", 0)}
        taken.close()
        if fault == "port in use":  # without a hand
            with log_of(daemon) as log:
                log.until(f"{subject} is ready")
            assert post(port, "hello", "first")[0] == 202
    assert daemon.stop() == 0


def test_a_service_that_always_crashes_is_given_up_and_can_be_started_by_hand(daemon: Daemon, tmp_path: Path) -> None:
    """Fault injection: a platform that raises at once. The cap ends it; tree, doctor and status say so."""
    (tmp_path / "inject").mkdir()
    (tmp_path / "inject" / "sitecustomize.py").write_text(
        """\
# Fault injection: telegram's service crashes whenever it is started; restarts are made without delay.
import hermesd.gateway.platforms.telegram as telegram
from hermesd.supervision.policy import Policy

async def run(self, *, task_status):
    raise RuntimeError("injected crash")

telegram.Telegram.run = run
telegram.Policy = lambda **more: Policy(**more, base_s=0.01, cap_s=0.02)
"""
    )
    daemon.write_config("platforms:\n" + telegram_config("http://127.0.0.1:9"), env="TELEGRAM_BOT_TOKEN=1:a\n")
    run_gateway(daemon)
    daemon.start(PYTHONPATH=str(tmp_path / "inject"))
    name = "profile/default/telegram"
    with log_of(daemon) as log:
        log.until(f"{name} is failed")
        found = services(daemon)[name]
        assert found["state"] == "failed"
        assert "injected crash" in found["last_error"]
        assert found["restarts"] >= 3
        assert doctor(daemon)[name]["verdict"] == "problem"
        assert name in daemon.ctl("status").stdout
        assert daemon.call("chat.send", text="hello", quiet=True)["state"] == "done"
        assert daemon.stop() == 0
    daemon.start(PYTHONPATH=str(tmp_path / "inject"))
    with log_of(daemon) as log:
        log.until("before the daemon was restarted")
    assert services(daemon)[name]["state"] == "failed"
    daemon.ctl("service", "start", name)
    assert "injected crash" in services(daemon)[name]["last_error"]


def test_a_service_that_blocks_the_loop_is_named_with_its_stack(daemon: Daemon, tmp_path: Path) -> None:
    """Fault injection: a second in telegram's task; the log and doctor name the service, the function and the line."""
    (tmp_path / "inject").mkdir()
    (tmp_path / "inject" / "sitecustomize.py").write_text(BLOCKING)
    daemon.write_config("platforms:\n" + telegram_config("http://127.0.0.1:9"), env="TELEGRAM_BOT_TOKEN=1:a\n")
    run_gateway(daemon)
    daemon.start(PYTHONPATH=str(tmp_path / "inject"))
    with log_of(daemon) as log:
        line = log.until("profile/default/telegram held the loop")
    assert line["service"] == "profile/default/telegram"
    assert "block_the_loop" in line["message"]
    shown = daemon.ctl("doctor").stdout
    assert "profile/default/telegram held the loop" in shown
    assert "block_the_loop" in shown

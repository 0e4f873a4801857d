"""Wrong configuration, wrong token, dead endpoint, wrong home: what is told, to whom, and who is not bothered."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.blackbox import doctor, events, free_port, inbox, log_of, run_gateway, services, telegram_config
from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.daemon import Daemon
from tests.servers.llmock import run_llmock


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as running:
        yield running


def refused_start(daemon: Daemon, status: int) -> str:
    """Start it, see it end with this status and without a traceback; what it said."""
    daemon.start(wait=False)
    assert daemon.wait() == status, daemon.output
    assert "Traceback" not in daemon.output
    assert "→" in daemon.output
    return daemon.output


@pytest.mark.parametrize(
    ("text", "line", "nearest"),
    [
        ("agent:\n  max_turn: 3\n", 2, "max_turns"),
        ("platform:\n  telegram: {}\n", 1, "platforms"),
        ("model: {}\nagent: {}\npolicy:\n  tols: {}\n", 4, "tools"),
    ],
)
def test_an_unknown_key_ends_the_start_with_78_and_the_nearest_name(
    daemon: Daemon, text: str, line: int, nearest: str
) -> None:
    """File and line, the key, and what was probably meant."""
    daemon.write_config(text)
    said = refused_start(daemon, 78)
    assert f"{daemon.home / 'config.yaml'}:{line}:" in said
    assert nearest in said


@pytest.mark.parametrize(
    "text",
    [
        "agent: {max_turns: many}\n",
        "agent: [1]\n",
        "a: b: c\n",
        "x: &a [*a]\n",
        "agent: !!python/object:os.system {}\n",
    ],
    ids=["type", "shape", "syntax", "loop", "tag"],
)
def test_a_config_that_makes_no_sense_ends_the_start_with_78_and_a_line(daemon: Daemon, text: str) -> None:
    """Never with a traceback."""
    daemon.write_config(text)
    assert f"{daemon.home / 'config.yaml'}:1" in refused_start(daemon, 78)


def test_a_wrong_telegram_token_is_one_failed_platform_with_what_to_do(daemon: Daemon, platform: Crabline) -> None:
    """Its neighbour with a good one is answered; the wrong one stands in tree and doctor, without the token."""
    text = "platforms:\n" + telegram_config(platform.base_url)
    daemon.write_config(text, env="TELEGRAM_BOT_TOKEN=123456:wrong-token-value\n")
    daemon.write_config(text, profile="coder", env=f"TELEGRAM_BOT_TOKEN={platform.token}\n")
    (daemon.home / "profiles").chmod(0o700)
    run_gateway(daemon)
    run_gateway(daemon, "coder")
    daemon.start()
    with events(daemon) as watch, log_of(daemon) as log:
        log.until("profile/default/telegram is failed")
        platform.say("hello")
        watch.until("outbox.sent", platform="telegram")
    found = services(daemon)["profile/default/telegram"]
    assert found["state"] == "failed"
    assert "token" in found["last_error"].lower()
    assert "TELEGRAM_BOT_TOKEN" in found["last_error"] + doctor(daemon)["profile/default/telegram"]["next_step"]
    shown = daemon.ctl("tree").stdout
    assert "failed" in shown
    assert "wrong-token-value" not in shown + daemon.output
    assert services(daemon)["profile/coder/telegram"]["state"] == "ready"


def test_a_message_for_a_dead_model_waits_and_is_answered_when_it_is_back(daemon: Daemon, platform: Crabline) -> None:
    """Its user is told once that it waits, then gets the answer; nothing has to be sent again."""
    port = free_port()
    daemon.write_config(
        f"""\
model: {{default: m, provider: openai, base_url: "http://127.0.0.1:{port}/v1", api_key: k, max_attempts: 1}}
platforms:
"""
        + telegram_config(platform.base_url),
        env=f"TELEGRAM_BOT_TOKEN={platform.token}\n",
    )
    run_gateway(daemon)
    daemon.start()
    with events(daemon) as watch, contextlib.ExitStack() as stack:
        platform.say("Where does the cat sleep?")
        watch.until("turn.deferred")
        watch.until("outbox.sent", platform="telegram")
        assert [row["state"] for row in inbox(daemon)] == ["pending"]
        model = stack.enter_context(run_llmock(port=port))
        model.script({"type": "reply", "text": "On the sofa.", "times": 1})
        watch.until("turn.finished", state="done")
        watch.until("outbox.sent", platform="telegram")
    notice, answer = platform.shown()
    assert "will be answered" in notice
    assert answer == "On the sofa."
    assert [row["state"] for row in inbox(daemon)] == ["done"]


# -- the home --------------------------------------------------------------------------------------------------------


def as_nobody(home: Path) -> subprocess.CompletedProcess[str]:
    """Run hermesd as another user, whom the checkout may not be readable to: modules are loaded before the change."""
    program = """
import os, sys
import hermesd.process, hermesd.__main__
os.setgroups([]); os.setgid(65000); os.setuid(65000)
sys.exit(hermesd.__main__.main(["--home", sys.argv[1]]))
"""
    return subprocess.run(
        [sys.executable, "-c", program, str(home)],
        env={**os.environ, "HERMES_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("mode", [0o755, 0o777], ids=oct)
def test_a_home_of_another_user_or_not_writable_is_refused_by_name(mode: int) -> None:
    """Exit 78 (configuration), the directory, and what to do."""
    with tempfile.TemporaryDirectory(prefix="hermesd-") as name:  # pytest's own cannot be passed through
        Path(name).chmod(0o711)
        home = Path(name) / "theirs"
        home.mkdir()
        home.chmod(mode)
        done = as_nobody(home)
    assert done.returncode == 78, done.stderr
    assert str(home) in done.stderr
    assert "Traceback" not in done.stderr
    assert "→" in done.stderr


def test_a_second_daemon_ends_with_the_pid_of_the_first(daemon: Daemon) -> None:
    """The first is not disturbed."""
    daemon.start()
    second = Daemon(daemon.home)
    said = refused_start(second, 1)
    assert f"pid {daemon.pid}" in said
    assert daemon.call("daemon.status")["pid"] == daemon.pid


def test_a_socket_served_by_another_process_is_left_alone(daemon: Daemon) -> None:
    """Somebody listens where we would: exit 1 with the path; the other one's socket is still there."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(daemon.home / "hermesd.sock"))
        other.listen()
        assert str(daemon.home / "hermesd.sock") in refused_start(daemon, 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(daemon.home / "hermesd.sock"))


@pytest.mark.parametrize("kind", ["file", "directory", "dangling link"])
def test_something_else_where_the_socket_belongs_is_refused_and_kept(daemon: Daemon, kind: str) -> None:
    """Only a stale socket of our own is removed."""
    path = daemon.home / "hermesd.sock"
    if kind == "file":
        path.write_text("precious")
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(daemon.home / "nowhere")
    assert str(path) in refused_start(daemon, 78)
    assert os.path.lexists(path)


def test_a_home_with_a_path_too_long_for_a_socket_is_served_all_the_same(tmp_path: Path) -> None:
    """The socket lies below XDG_RUNTIME_DIR, and the client finds it there."""
    home = tmp_path / ("long-" * 20) / "home"
    home.mkdir(parents=True, mode=0o700)
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    daemon = Daemon(home, {"XDG_RUNTIME_DIR": str(runtime)})
    try:
        daemon.start()
        assert daemon.ctl("status").returncode == 0
        [found] = (runtime / "hermesd").glob("*.sock")
        assert found.is_socket()
        assert daemon.stop() == 0
        assert not found.exists()
    finally:
        daemon.kill()


def test_a_home_that_cannot_be_a_path_is_refused(tmp_path: Path) -> None:
    """A component of more than 255 bytes, and a file where a directory belongs."""
    (tmp_path / "file").write_text("")
    for home in (tmp_path / ("x" * 300), tmp_path / "file" / "home"):
        done = subprocess.run(
            [sys.executable, "-m", "hermesd", "--home", str(home)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 78
        assert "Traceback" not in done.stderr

"""A watch that asks first, in a chat: real inotify, a real hermesd, Crabline as Telegram."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.daemon import HTTP, Daemon

pytestmark = [
    pytest.mark.loaded(HTTP),
    pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs node and npm"),
]

CONFIG = """\
model: offline
platforms:
  telegram: {{enabled: true, base_url: "{url}", allowed_users: [7], home_channel: "7", poll_timeout_s: 2}}
"""


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as server:
        yield server


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    (tmp_path / "notes").mkdir()
    return tmp_path / "notes"


@pytest.fixture
def asking(daemon: Daemon, bot: Crabline, notes: Path) -> Daemon:
    daemon.write_config(CONFIG.format(url=bot.base_url), env=f"TELEGRAM_BOT_TOKEN={bot.token}\n")
    daemon.start()
    assert daemon.ctl("gateway", "start").returncode == 0
    prompt = f"$ echo {{event}} >> {notes}/did"
    arguments = ("--file", f"{notes}/*.md", "--debounce", "0.1", "--deliver", "telegram", "--name", "Notes", prompt)
    done = daemon.ctl("watch", "add", *arguments)
    assert done.returncode == 0, done.stderr
    return daemon


def states(daemon: Daemon) -> list[str]:
    return [run["state"] for run in daemon.call("watch.runs", watch="Notes")["runs"]]


def shown(bot: Crabline, text: str) -> Callable[[], bool]:
    return lambda: any(text in message for message in bot.shown())


def test_the_question_comes_to_the_chat_and_only_a_clear_word_answers_it(
    asking: Daemon, bot: Crabline, notes: Path
) -> None:
    """Another message is answered as ever; the turn that begins asks there for what needs approval."""
    (notes / "a.md").write_text("one")
    asking.until(shown(bot, "a.md created (watch Notes). Shall I do this?"))
    bot.say("what is the time")
    asking.until(shown(bot, "You wrote: 'what is the time'"))
    assert states(asking) == ["running"]
    bot.say("yes")
    asking.until(shown(bot, f"echo created >> {notes}/did"))
    assert not (notes / "did").exists(), "an unsafe call is asked about, because somebody is there"
    bot.say("/approve")
    asking.until(lambda: states(asking) == ["done"])
    assert (notes / "did").read_text() == "created\n"


def test_a_no_in_the_chat_drops_it_and_a_restart_does_not_ask_twice(asking: Daemon, bot: Crabline, notes: Path) -> None:
    """The question stays open while the daemon is away."""
    (notes / "a.md").write_text("one")
    asking.until(shown(bot, "Shall I do this?"))
    assert asking.stop() == 0
    asking.start()
    asking.until(lambda: states(asking) == ["running"])
    bot.say("no")
    asking.until(lambda: states(asking) == ["dropped"])
    assert sum("Shall I do this?" in message for message in bot.shown()) == 1
    assert not (notes / "did").exists()

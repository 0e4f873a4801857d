"""Conversations over a real Telegram server (Crabline) with the offline provider, in a real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import crabline
from tests.servers.crabline import Crabline
from tests.servers.daemon import HTTP, Daemon, RpcFailure

pytestmark = pytest.mark.loaded(HTTP)


def config(bot: Crabline, more: str = "") -> str:
    return f"""\
model: offline
platforms:
  telegram:
    enabled: true
    base_url: {bot.base_url}
    allowed_users: [7]
    poll_timeout_s: 1
{more}"""


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as server:
        yield server


@pytest.fixture
def second_bot(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline2") as server:
        yield server


@pytest.fixture
def talking(daemon: Daemon, bot: Crabline) -> Daemon:
    """A daemon whose default profile is at the bot."""
    daemon.write_config(config(bot), env=f"TELEGRAM_BOT_TOKEN={bot.token}\n")
    daemon.start()
    daemon.call("gateway.start")
    return daemon


def until_shown(daemon: Daemon, bot: Crabline, text: str, chat: int = 7) -> None:
    daemon.until(lambda: any(text in shown for shown in bot.shown(chat)))


def rows(daemon: Daemon, state: str, profile: str = "") -> list[dict]:
    return daemon.call("inbox.list", states=[state], profile=profile)["rows"]  # type: ignore[no-any-return]  # JSON


def test_commands_answer_at_once_and_stop_ends_a_running_turn(talking: Daemon, bot: Crabline) -> None:
    """/help, /whoami, /status while a slow answer is being made; /stop ends it; /retry asks it again."""
    bot.say("/help")
    until_shown(talking, bot, "/approve, /deny")
    bot.say("slow 200")
    talking.until(lambda: talking.call("daemon.status")["turns_running"] == 1)
    bot.say("/whoami")
    until_shown(talking, bot, "You are 7 @ada_l on telegram, chat 7.")
    bot.say("/status")
    until_shown(talking, bot, "1 turn(s) running in this profile, 0 message(s) of this chat waiting")
    bot.say("/stop")
    until_shown(talking, bot, "Stopped.")
    talking.until(lambda: not rows(talking, "running") and not rows(talking, "pending"))
    assert talking.call("daemon.status")["turns_running"] == 0
    bot.say("/retry")
    talking.until(lambda: "slow 200" in [row["text"] for row in rows(talking, "running")])
    bot.say("/stop")
    talking.until(lambda: sum("Stopped." in text for text in bot.shown()) == 2)
    assert not any("slow 200" in row["text"] for row in rows(talking, "running"))


def test_new_begins_afresh_and_a_long_reply_is_split(talking: Daemon, bot: Crabline) -> None:
    """Two sessions of one chat; a file of 1,800 characters read five times arrives whole."""
    workspace = talking.home / "workspace"
    workspace.mkdir(exist_ok=True)
    (workspace / "long.txt").write_text("\n".join(f"line {n:04} " + "x" * 40 for n in range(35)))
    bot.say("read long.txt and read long.txt and read long.txt and read long.txt and read long.txt")
    talking.until(lambda: sum(text.count("line 0034") for text in bot.shown()) == 5)
    assert all(len(text) <= 4096 for text in bot.shown())
    bot.say("/new")
    until_shown(talking, bot, "A fresh conversation.")
    bot.say("hello again")
    until_shown(talking, bot, "You wrote: 'hello again'")
    sessions = talking.call("sessions.list")["sessions"]
    assert len(sessions) == 2
    assert sessions[0]["messages"] == 2


def test_a_question_is_answered_by_a_plain_message_and_an_approval_by_a_command(talking: Daemon, bot: Crabline) -> None:
    """The question is put once, over a kill -9 too; what was approved is done once."""
    bot.say("ask me which colour [red | blue]")
    until_shown(talking, bot, "which colour")
    talking.kill()
    talking.start()
    bot.say("blue")
    until_shown(talking, bot, "clarify said:\nblue")
    assert sum("which colour" in text for text in bot.shown()) == 1
    bot.say("$ echo once >> log.txt")
    until_shown(talking, bot, "Allow this call?")
    bot.say("/approve")
    until_shown(talking, bot, "Allowed.")
    talking.until((talking.home / "workspace/log.txt").exists)
    talking.until(lambda: not rows(talking, "running"))
    assert (talking.home / "workspace/log.txt").read_text() == "once\n"


def test_messages_wait_at_telegram_while_the_gateway_is_stopped(talking: Daemon, bot: Crabline) -> None:
    """The desired state outlives kill -9, in both directions."""
    bot.say("one")
    until_shown(talking, bot, "You wrote: 'one'")
    assert talking.ctl("gateway", "stop").returncode == 0
    bot.say("two")
    talking.kill()
    talking.start()
    assert talking.call("gateway.list")["profiles"][0]["desired"] == "stopped"
    assert not any("two" in text for text in bot.shown())
    assert talking.ctl("gateway", "start").returncode == 0
    until_shown(talking, bot, "You wrote: 'two'")
    talking.kill()
    talking.start()
    bot.say("three")
    until_shown(talking, bot, "You wrote: 'three'")
    assert sum("'two'" in text for text in bot.shown()) == 1


@pytest.fixture
def two(daemon: Daemon, bot: Crabline, second_bot: Crabline) -> Daemon:
    """Two profiles, each at a bot of its own, with a secret of its own."""
    for name, server, secret in (("default", bot, "alpha"), ("coder", second_bot, "beta")):
        env = f"TELEGRAM_BOT_TOKEN={server.token}\nMY_SECRET={secret}-secret\n"
        more = "policy:\n  unsafe: allow\nterminal:\n  env_passthrough: [MY_SECRET]\n"
        daemon.write_config(config(server, more), profile=name, env=env)
    daemon.start()
    done = daemon.ctl("gateway", "start", "--all")
    assert done.returncode == 0, done.stderr
    return daemon


def test_two_profiles_do_not_see_each_other(two: Daemon, bot: Crabline, second_bot: Crabline) -> None:
    """Bots, workspaces, child environments, sessions and search are each their own."""
    asked = "$ pwd && printenv MY_SECRET TELEGRAM_BOT_TOKEN; echo the-end"
    bot.say(asked)
    second_bot.say(asked)
    until_shown(two, bot, "\nthe-end")
    until_shown(two, second_bot, "\nthe-end")
    first, second = "\n".join(bot.shown()), "\n".join(second_bot.shown())
    assert str(two.home / "workspace") in first
    assert str(two.home / "profiles/coder/workspace") in second
    assert "alpha-secret" in first, "what terminal.env_passthrough names comes from the profile's own .env"
    assert "beta-secret" in second
    assert "beta-secret" not in first
    assert "alpha-secret" not in second
    assert bot.token not in first
    assert second_bot.token not in second
    [mine] = two.call("sessions.list", profile="default")["sessions"]
    [other] = two.call("sessions.list", profile="coder")["sessions"]
    for call in (
        lambda: two.call("chat.send", profile="default", session=other["id"], text="hi"),
        lambda: two.call("sessions.show", profile="default", session=other["id"]),
        lambda: two.call("chat.interrupt", profile="coder", session=mine["id"]),
    ):
        with pytest.raises(RpcFailure) as refused:
            call()
        assert refused.value.code == -32001
    assert two.call("sessions.search", profile="coder", query="workspace")["hits"]
    hits = two.call("sessions.search", profile="default", query="coder")["hits"]
    assert all(hit["session_id"] == mine["id"] for hit in hits)


def test_a_profile_is_renamed_while_it_runs_and_its_conversation_goes_on(
    two: Daemon, bot: Crabline, second_bot: Crabline
) -> None:
    """Directory, rows, session keys and services follow; the other profile notices nothing."""
    second_bot.say("before")
    until_shown(two, second_bot, "You wrote: 'before'")
    done = two.ctl("profile", "rename", "coder", "writer")
    assert done.returncode == 0, done.stderr
    assert not (two.home / "profiles/coder").exists()
    second_bot.say("after")
    until_shown(two, second_bot, "You wrote: 'after'")
    [session] = two.call("sessions.list", profile="writer")["sessions"]
    assert session["messages"] == 4
    assert session["key"] == "agent:writer:telegram:dm:7"
    names = {child["name"] for child in two.call("daemon.tree")["root"]["children"]}
    assert "profile/writer" in names
    assert "profile/coder" not in names
    bot.say("still there?")
    until_shown(two, bot, "You wrote: 'still there?'")


def test_a_deleted_profile_leaves_nothing_to_a_later_one_of_its_name(two: Daemon, second_bot: Crabline) -> None:
    """Rows, directory and services go, a running turn with them; a new profile of that name is empty."""
    second_bot.say("slow 200")
    two.until(lambda: two.call("daemon.status")["turns_running"] == 1)
    two.call("profile.delete", name="coder")
    assert [row["name"] for row in two.call("profile.list")["profiles"]] == ["default"]
    assert not (two.home / "profiles/coder").exists()
    two.call("profile.create", name="coder")
    assert two.call("sessions.list", profile="coder").get("sessions", []) == []
    assert (two.home / "profiles/coder/workspace").is_dir()


def test_a_bot_whose_server_is_away_does_not_delay_the_others(two: Daemon, bot: Crabline, second_bot: Crabline) -> None:
    """Not the start of the daemon either: READY comes, the others answer, the tree shows the one that cannot."""
    two.stop()
    two.write_config(config(second_bot).replace(second_bot.base_url, "http://127.0.0.1:9"), profile="coder")
    two.start()
    bot.say("awake?")
    until_shown(two, bot, "You wrote: 'awake?'")
    [coder] = [row for row in two.call("profile.list")["profiles"] if row["name"] == "coder"]
    assert coder["state"] in ("starting", "degraded", "startup_failed")

"""Every (step × kill point) of a turn, with a read-only, an idempotent and an unsafe tool.

The daemon kills itself with SIGKILL at a named point, is started again, and the client repeats its message under the
same delivery id. The outcome is one of: done once, or parked and visible in ``hermesctl inbox``.
"""

from __future__ import annotations

import contextlib
import json
import signal

import pytest

from tests.servers.daemon import HTTP, Daemon

pytestmark = pytest.mark.loaded(HTTP)

CONFIG = """\
policy:
  unsafe: allow
"""

PROMPTS = {
    "read_only": "read cat.txt",
    "idempotent": "write made.txt: hello",
    "unsafe": "$ echo once >> effects.txt",
}

POINTS = [
    "inbox.before_commit",
    "inbox.after_commit",
    "turn.begun",
    "model.before_request",
    "model.before_request:2",
    "model.after_reply",
    "model.after_reply:2",
    "step.intent",
    "step.started",
    "step.ran",
    "step.result",
    "turn.before_finish",
    "turn.after_finish",
    *(f"store.{side}_commit:{count}" for side in ("before", "after") for count in range(2, 8)),
]


def put_files(daemon: Daemon) -> None:
    workspace = daemon.home / "workspace"
    workspace.mkdir(mode=0o700)
    (workspace / "cat.txt").write_text("the cat sleeps\n")


def effects(daemon: Daemon) -> int:
    """How often the unsafe command really ran."""
    path = daemon.home / "workspace" / "effects.txt"
    return len(path.read_text().splitlines()) if path.exists() else 0


def say(daemon: Daemon, text: str) -> dict[str, str] | None:
    """Send with a fixed delivery id; None when the daemon died under it."""
    with contextlib.suppress(ConnectionError, OSError), daemon.connect() as wire:
        return wire.call("chat.send", text=text, delivery_id="the-one")  # type: ignore[no-any-return]  # JSON
    return None


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("effect", list(PROMPTS))
def test_a_turn_cut_at_any_point_is_done_once_or_parked(daemon: Daemon, effect: str, point: str) -> None:
    """After the restart the same message ends as done, with its effect exactly once, or is parked for a person."""
    daemon.write_config(CONFIG)
    put_files(daemon)
    daemon.start(HERMESD_FAILPOINT=point)
    first = say(daemon, PROMPTS[effect])
    # The last commits of a turn may come after its answer: then it is the repeated message that finds the daemon dead.
    result = say(daemon, PROMPTS[effect]) if first is not None else None
    reached = result is None
    if result is None:
        assert daemon.wait() == -signal.SIGKILL
        daemon.start()
        result = say(daemon, PROMPTS[effect])
    assert result is not None

    if result["state"] == "done":
        assert effects(daemon) == (1 if effect == "unsafe" else 0)
        if effect == "read_only":
            assert "the cat sleeps" in result["text"]
        if effect == "idempotent":
            assert (daemon.home / "workspace" / "made.txt").read_text() == "hello"
    else:
        assert result["state"] == "parked"
        assert effect == "unsafe", "only an unsafe call may be parked"
        assert effects(daemon) <= 1
        shown = json.loads(daemon.ctl("inbox", "--json").stdout)
        assert [row["state"] for row in shown["rows"]] == ["parked"]
    if effect == "unsafe" and point in ("step.intent", "step.started", "step.ran"):  # its intent is its start
        assert result["state"] == "parked"
    if point.partition(":")[0] in ("step.started",) and effect != "unsafe":
        assert not reached, "safe calls are not journalled as started"


def test_a_parked_turn_is_taken_up_as_its_owner_decides(daemon: Daemon) -> None:
    """``inbox resume`` takes the owner's word for the unknown step; nothing runs twice."""
    daemon.write_config(CONFIG)
    put_files(daemon)
    daemon.start(HERMESD_FAILPOINT="step.ran")
    assert say(daemon, PROMPTS["unsafe"]) is None
    daemon.wait()
    daemon.start()
    parked = say(daemon, PROMPTS["unsafe"])
    assert parked is not None
    assert parked["state"] == "parked"
    with daemon.connect() as wire:
        wire.send("events.watch", since=daemon.call("events.list", since=0, limit=500)["last_id"])
        assert daemon.ctl("inbox", "resume", str(parked["inbox_id"])).returncode == 0
        while wire.until("events.event")["event"]["kind"] != "turn.finished":
            pass
    assert effects(daemon) == 1
    assert daemon.call("inbox.show", id=parked["inbox_id"])["row"]["state"] == "done"


def test_a_message_that_kills_the_daemon_twice_is_parked(daemon: Daemon) -> None:
    """A crash loop ends: the third start stays up and shows the message in the inbox."""
    daemon.write_config(CONFIG)
    put_files(daemon)
    daemon.start(HERMESD_FAILPOINT="model.before_request")
    assert say(daemon, "hello") is None
    daemon.wait()
    daemon.start(wait=False, HERMESD_FAILPOINT="model.before_request")
    assert daemon.wait() == -signal.SIGKILL
    daemon.start(HERMESD_FAILPOINT="model.before_request")
    result = say(daemon, "hello")
    assert result is not None
    assert result["state"] == "parked"
    assert daemon.ctl("status").returncode == 0

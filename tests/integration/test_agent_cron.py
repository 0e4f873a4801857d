"""The agent's ``cron`` tool in a real daemon: what a model (llmock) calls, and what it is told."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from hermesd.triggers.agent_jobs import MAX_JOBS
from tests.faults.blackbox import events
from tests.servers.daemon import HTTP, Daemon
from tests.servers.llmock import LlmockServer, run_llmock

pytestmark = pytest.mark.loaded(HTTP)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[LlmockServer]:
    with run_llmock() as server:
        yield server


@pytest.fixture
def working(daemon: Daemon, endpoint: LlmockServer) -> Daemon:
    endpoint.reset()
    daemon.write_config(
        f"""\
timezone: Europe/Berlin
model: {{provider: openai, default: gpt-test, base_url: {endpoint.base_url("openai")}, api_key: not-secret}}
policy: {{tools: {{cron: allow}}}}
"""
    )
    return daemon.start()


def told(daemon: Daemon, endpoint: LlmockServer, said: str, replies: int = 1, **arguments: Any) -> str:
    """Say something; the model calls the tool; what it is told of that. A job that is run asks the model too."""
    endpoint.script(
        {"type": "reply", "text": "", "tool_calls": [{"name": "cron", "arguments": arguments}], "times": 1},
        {"type": "reply", "text": "Done.", "times": replies},
    )
    assert daemon.call("chat.send", text=said)["text"] == "Done."
    asked = [each["body"]["messages"] for each in endpoint.requests()]
    return str(next(each[-1]["content"] for each in reversed(asked) if each[-1]["role"] == "tool"))


def test_a_run_tells_when_it_was_where_it_went_and_what_it_cost(working: Daemon, endpoint: LlmockServer) -> None:
    """Of its turn: started, ended, session, tokens; of each target its own row and end."""
    fields = {
        "schedule": "every 1h",
        "prompt": "Say hello.",
        "name": "Hello",
        "deliver": "local,webhook:https://a.test/",
    }
    job = working.call("cron.create", fields=fields)["job"]
    endpoint.script({"type": "reply", "text": "Hello.", "times": 1})
    with events(working) as watch:
        working.call("cron.run", job=job["id"])
        watch.until("outbox.sent", platform="local")
        if not [each for each in watch.seen if each["kind"] == "outbox.dead"]:
            watch.until("outbox.dead", platform="webhook")
    [run] = working.call("cron.runs", job=job["id"])["runs"]
    assert run["run"]["fired_at"] <= run["started_at"] <= run["ended_at"] <= time.time()
    assert run["session_id"] in [each["id"] for each in working.call("sessions.list")["sessions"]]
    usage = (run["input_tokens"], run["output_tokens"], run["model"])
    assert usage[0] > 0
    assert usage[1] > 0
    assert usage[2] == "gpt-test"
    local, webhook = run["targets"]
    assert (local["to"], local["state"], local["attempts"]) == ("local", "sent", 1)
    assert (webhook["to"], webhook["state"]) == ("webhook:https://a.test/", "dead")
    assert "WEBHOOK_DELIVERY_SECRET" in webhook["error"]
    assert working.call("outbox.show", id=webhook["id"])["row"]["state"] == "dead"
    shown = working.ctl("cron", "runs", "Hello").stdout
    assert f"{usage[0]}+{usage[1]}" in shown


def jobs(daemon: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.call("cron.list")["jobs"]
    return found


def test_a_job_is_made_listed_changed_paused_run_and_removed_by_talking(
    working: Daemon, endpoint: LlmockServer
) -> None:
    """Every morning at nine, in the user's zone."""
    said = told(
        working,
        endpoint,
        "Every morning at 9, tell me what is new on Hacker News.",
        action="create",
        schedule="every day at 9:00",
        prompt="Say what is new on Hacker News.",
        name="News",
    )
    assert "made job" in said
    assert "0 9 * * *" in said
    [job] = jobs(working)
    assert (job["timezone"], job["schedule"]) == ("Europe/Berlin", "0 9 * * *")
    assert " 09:00:00+0" in job["next"][0]

    assert "News (active)" in told(working, endpoint, "What is planned?", action="list")
    said = told(working, endpoint, "Weekdays only, please.", action="update", job="News", schedule="0 9 * * 1-5")
    assert "changed News: 0 9 * * 1-5" in said
    [changed] = jobs(working)
    assert changed["id"] == job["id"]
    assert changed["fields"]["prompt"] == "Say what is new on Hacker News."
    assert "paused News" in told(working, endpoint, "Not this week.", action="pause", job="News")
    assert jobs(working)[0]["state"] == "paused"
    assert "resumed News" in told(working, endpoint, "Again, please.", action="resume", job="News")
    assert jobs(working)[0]["state"] == "active"
    assert "started News" in told(working, endpoint, "Now!", replies=2, action="run", job="News")
    assert len(working.call("cron.runs", job=job["id"])["runs"]) == 1
    assert "removed News" in told(working, endpoint, "Forget it.", action="remove", job="News")
    assert jobs(working) == []


REFUSED = [
    ({"action": "create", "schedule": "every 10s", "prompt": "x"}, "too often", "every 1m"),
    ({"action": "create", "schedule": "at dawn", "prompt": "x"}, "not understood", "every weekday"),
    ({"action": "create", "schedule": "every 1h"}, "needs a prompt", "give one"),
    ({"action": "update", "job": "Old"}, "nothing to change", "give schedule"),
    ({"action": "update", "job": "Old", "schedule": "every 30s"}, "too often", "every 1m"),
    ({"action": "pause"}, "needs a job", "its id or its name"),
    ({"action": "run", "job": "nope"}, "there is no job 'nope'", "cron list"),
]


def test_what_an_agent_may_not_do_is_refused_with_what_it_may(working: Daemon, endpoint: LlmockServer) -> None:
    """Jobs that run all the time, and jobs without end in number; nothing is made or changed."""
    working.call("cron.create", fields={"schedule": "every 1h", "prompt": "x", "name": "Old"})
    for arguments, what, step in REFUSED:
        said = told(working, endpoint, f"Do {json.dumps(arguments)}.", **arguments)
        assert what in said
        assert step in said
    with working.connect() as wire:
        for number in range(MAX_JOBS - 1):
            wire.call("cron.create", fields={"schedule": "every 1h", "prompt": "x", "name": f"j{number}"})
    said = told(working, endpoint, "One more.", action="create", schedule="every 1h", prompt="x")
    assert f"there are {MAX_JOBS} jobs already" in said
    assert "remove one" in said
    assert len(jobs(working)) == MAX_JOBS
    assert {job["schedule"] for job in jobs(working)} == {"every 1h"}

"""Case 32 at the level of a turn: what a model's endpoint may do, with llmock as that. Every turn ends sanely."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.blackbox import inbox, restarted
from tests.servers.daemon import HTTP, Daemon
from tests.servers.llmock import LlmockServer, run_llmock

pytestmark = pytest.mark.loaded(HTTP)

WIRES = ["openai", "anthropic"]


@pytest.fixture(scope="module")
def llmock() -> Iterator[LlmockServer]:
    with run_llmock() as running:
        yield running


@pytest.fixture(params=WIRES)
def model(request: pytest.FixtureRequest, llmock: LlmockServer, daemon: Daemon) -> LlmockServer:
    """A daemon is up and answers with llmock, over either wire format."""
    llmock.reset()
    daemon.write_config(
        f"""\
model: {{default: test-model, provider: {request.param}, base_url: "{llmock.base_url(request.param)}", api_key: k}}
agent: {{max_turns: 12}}
policy: {{unsafe: allow, tools: {{terminal: allow}}}}
"""
    )
    (daemon.home / "workspace").mkdir(mode=0o700)
    (daemon.home / "workspace" / "cat.txt").write_text("the cat sleeps\n")
    daemon.start()
    return llmock


def reply(text: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "reply", "text": text, "times": 1, **more}


def calling(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"type": "reply", "tool_calls": [{"name": name, "arguments": arguments}], "times": 1, **more}


def ask(daemon: Daemon, **params: Any) -> dict[str, Any]:
    result: dict[str, Any] = daemon.call("chat.send", **{"text": "Where does the cat sleep?", "quiet": True, **params})
    assert restarted(daemon) == []
    return result


def usage_of(daemon: Daemon) -> tuple[int, int]:
    turn = daemon.call("inbox.show", id=inbox(daemon)[-1]["id"])["turn"]
    return turn["input_tokens"], turn["output_tokens"]


@pytest.mark.parametrize("arguments", [{"nonsense": 1}, {}, {"path": 7}], ids=["unknown", "missing", "type"])
def test_arguments_that_do_not_fit_are_told_to_the_model_which_tries_again(
    daemon: Daemon, model: LlmockServer, arguments: dict[str, object]
) -> None:
    """Nothing runs; the model reads what is wrong and answers."""
    model.script(calling("read_file", arguments), calling("read_file", {"path": "cat.txt"}), reply("It sleeps."))
    result = ask(daemon)
    assert (result["state"], result["text"]) == ("done", "It sleeps.")
    assert len(model.requests()) == 3
    assert "the cat sleeps" in str(model.requests()[-1])


def test_an_unknown_tool_is_told_to_the_model_with_the_known_ones(daemon: Daemon, model: LlmockServer) -> None:
    """The turn goes on."""
    model.script(calling("read_fiel", {"path": "cat.txt"}), reply("Sorry."))
    assert ask(daemon)["text"] == "Sorry."
    assert "read_file" in str(model.requests()[-1])


def test_an_endless_loop_of_one_call_is_ended(daemon: Daemon, model: LlmockServer) -> None:
    """The same call four times in a row: the turn says so and stops asking."""
    model.script(calling("read_file", {"path": "cat.txt"}, times=50))
    result = ask(daemon)
    assert result["state"] == "failed"
    assert "read_file" in result["text"]
    assert len(model.requests()) <= 5


def test_an_endless_loop_of_different_calls_is_ended_by_the_bound_on_steps(daemon: Daemon, model: LlmockServer) -> None:
    """agent.max_turns requests at most."""
    model.script(*(calling("read_file", {"path": f"file-{number}"}) for number in range(40)))
    result = ask(daemon)
    assert result["state"] == "failed"
    assert "agent.max_turns" in result["text"]
    assert len(model.requests()) <= 13


def test_429_with_retry_after_is_waited_for_and_usage_counts_once(daemon: Daemon, model: LlmockServer) -> None:
    """One failed request, one answered; the turn's usage is the answered one's."""
    model.script(reply("Here."))
    assert ask(daemon)["text"] == "Here."
    alone = usage_of(daemon)
    model.reset()
    model.script({"type": "fail", "status": 429, "retry_after": 0.3, "times": 1}, reply("Here."))
    began = time.monotonic()
    assert ask(daemon, new=True)["text"] == "Here."
    assert time.monotonic() - began >= 0.3
    assert len(model.requests()) == 2
    assert usage_of(daemon) == alone


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_is_tried_again_a_bounded_number_of_times(
    daemon: Daemon, model: LlmockServer, status: int
) -> None:
    """Twice refused, then answered."""
    model.script({"type": "fail", "status": status, "times": 1}, reply("Here."))
    assert ask(daemon)["text"] == "Here."
    assert len(model.requests()) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_request_that_can_never_succeed_is_not_repeated(daemon: Daemon, model: LlmockServer, status: int) -> None:
    """The turn fails with what to do, after one request."""
    model.script({"type": "fail", "status": status, "times": 10})
    result = ask(daemon)
    assert result["state"] == "failed"
    assert len(model.requests()) == 1
    assert result["text"]


@pytest.mark.parametrize("kind", ["truncate", "disconnect", "malformed"])
def test_a_stream_that_breaks_off_is_asked_for_again_and_shown_once(
    daemon: Daemon, model: LlmockServer, kind: str
) -> None:
    """What had come of the first answer is withdrawn; the history holds one answer."""
    fault = {"type": "stream_fault", "kind": kind, "after_chunks": 2, "times": 1}
    model.script(reply("The whole answer.", times=2), fault)
    result = ask(daemon)
    assert (result["state"], result["text"]) == ("done", "The whole answer.")
    assert 2 <= len(model.requests()) <= 4
    messages = daemon.call("sessions.show", session=result["session"])["messages"]
    assert [row["text"] for row in messages if row["role"] == "assistant"] == ["The whole answer."]


@pytest.mark.parametrize("kind", ["malformed_arguments", "unknown_tool"])
def test_a_call_broken_on_the_wire_is_told_to_the_model(daemon: Daemon, model: LlmockServer, kind: str) -> None:
    """Arguments that are no JSON, a tool that is not offered: nothing runs, and the turn ends with an answer."""
    model.script(calling("read_file", {"path": "cat.txt"}), {"type": "tool_fault", "kind": kind}, reply("Sorry."))
    result = ask(daemon)
    assert result["state"] == "done"
    assert len(model.requests()) <= 4


def test_a_very_long_answer_arrives_whole(daemon: Daemon, model: LlmockServer) -> None:
    """Ten thousand pieces: in the answer, and the daemon's memory stays its own. (The server, not we, is slow.)"""
    text = "word " * 8_000
    model.script(reply(text))
    before = daemon.call("daemon.status")["rss_bytes"]
    result = ask(daemon)
    assert result["state"] == "done"
    assert result["text"].strip() == text.strip()
    assert daemon.call("daemon.status")["rss_bytes"] - before < 30_000_000
    model.script(reply("Short."))
    assert ask(daemon, new=True)["text"] == "Short."

"""Servers that ask back, through a real hermesd: on the surface of the session, and as the owner allows."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers import crabline, everything, mcp_asking
from tests.servers.crabline import Crabline
from tests.servers.daemon import MCP, Daemon, Wire
from tests.servers.llmock import LlmockServer, run_llmock

pytestmark = pytest.mark.loaded(MCP)

needs_node = pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs node and npm")
FORM = {
    "message": "What shall it be?",
    "requestedSchema": {
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}, "count": {"type": "integer"}},
        "required": ["colour", "count"],
    },
}
HELLO = {"messages": [{"role": "user", "content": {"type": "text", "text": "the secret text"}}], "maxTokens": 100_000}
ALLOWED = {"unsafe": "allow", "tools": {"mcp__s__sample": "allow"}}


def config(name: str, command: list[str], server: dict[str, Any], **more: Any) -> str:
    servers = {name: {"command": command[0], "args": command[1:], **server}}
    return json.dumps({"policy": ALLOWED, "mcp_servers": servers, **more})


def asking(server: dict[str, Any] | None = None, **more: Any) -> str:
    return config("s", [sys.executable, "-I", "-S", mcp_asking.__file__], server or {}, **more)


def reference(server: dict[str, Any] | None = None, **more: Any) -> str:
    return config("everything", ["node", str(everything.program()), "stdio"], server or {}, **more)


def events(daemon: Daemon, kind: str) -> list[dict[str, Any]]:
    return [event["data"] for event in daemon.call("events.list")["events"] if event["kind"] == kind]


def until_asked(wire: Wire) -> dict[str, Any]:
    return dict(wire.until("chat.update", kind="question")["question"])


def ready(daemon: Daemon, name: str) -> None:
    assert daemon.call("mcp.test", name=name)["ok"]


@needs_node
def test_a_form_of_the_reference_server_is_filled_in_by_chat(daemon: Daemon) -> None:
    """Thirteen fields: some by chat.answer, one by a plain message, the rest by their defaults or left out."""
    daemon.write_config(reference())
    daemon.start()
    ready(daemon, "everything")
    with daemon.connect() as wire:
        sent = wire.send("chat.send", text="call mcp__everything__trigger_elicitation_request")
        for number in range(13):
            question = until_asked(wire)
            assert question["text"].startswith("The MCP server everything (not your assistant) asks:\n> ")
            if number == 0:
                daemon.call("chat.send", text="Ada Lovelace", session=question["session_id"], wait=False)
                continue
            answer = "default" if "`default`" in question["text"] else "skip"
            daemon.call(
                "chat.answer", question=question["id"], answer="7" if "Integer:" in question["text"] else answer
            )
        result = wire.result(sent)
    assert result["state"] == "done"
    found = json.loads(result["text"].partition("Raw result: ")[2])
    assert found["action"] == "accept"
    assert (found["content"]["name"], found["content"]["integer"]) == ("Ada Lovelace", 7)
    assert (found["content"]["titledSingleSelectEnum"], found["content"]["number"]) == ("hero-1", 3.14)
    assert "email" not in found["content"]
    assert events(daemon, "mcp.elicitation") == [{"server": "everything", "mode": "form", "action": "accept"}]


def test_a_question_asked_once_from_a_shell_is_cancelled_and_never_answered_for_the_user(daemon: Daemon) -> None:
    """`hermesctl chat -q` has nobody to ask: what it says itself must not reach the server as the user's word."""
    daemon.write_config(asking({"sampling": {"enabled": True}}))
    daemon.start()
    ready(daemon, "s")
    text = {"type": "object", "properties": {"word": {"type": "string", "default": "x"}}, "required": ["word"]}
    asked = {"params": {"message": "Say a word", "requestedSchema": text}}
    done = daemon.ctl("chat", "--yolo", "-q", f"call mcp__s__ask {json.dumps(asked)}")
    assert "nobody is here to answer" in done.stderr
    assert '"action": "cancel"' in done.stdout, done.stdout
    assert events(daemon, "mcp.elicitation")[-1]["action"] == "cancel"
    done = daemon.ctl("chat", "--yolo", "-q", f"call mcp__s__sample {json.dumps({'params': HELLO})}")
    assert "the user does not allow it" in done.stdout
    assert daemon.call("chat.questions") == {"questions": []}


@needs_node
def test_an_address_of_the_reference_server_is_shown_and_declined(daemon: Daemon) -> None:
    """URL mode; and from the shell, where a call has nobody behind it, it is cancelled."""
    daemon.write_config(reference())
    daemon.start()
    ready(daemon, "everything")
    arguments = {"url": "https://pay.example/cart", "message": "Please pay."}
    with daemon.connect() as wire:
        sent = wire.send("chat.send", text=f"call mcp__everything__trigger_url_elicitation {json.dumps(arguments)}")
        question = until_asked(wire)
        assert "https://pay.example/cart" in question["text"]
        daemon.call("chat.answer", question=question["id"], answer="decline")
        assert "User declined" in wire.result(sent)["text"]
    called = daemon.call("mcp.call", name="everything", tool="trigger-url-elicitation", arguments=arguments)
    assert "User cancelled" in called["text"]


@pytest.fixture
def bot(tmp_path: Path) -> Iterator[Crabline]:
    with crabline.telegram(tmp_path / "crabline") as server:
        yield server


@needs_node
def test_a_question_reaches_the_user_on_telegram(daemon: Daemon, bot: Crabline) -> None:
    """Each field is a message there, and plain messages are the answers; a wrong one is asked again."""
    telegram = {"enabled": True, "base_url": bot.base_url, "allowed_users": [7], "poll_timeout_s": 1}
    daemon.write_config(asking(platforms={"telegram": telegram}), env=f"TELEGRAM_BOT_TOKEN={bot.token}\n")
    daemon.start()
    daemon.call("gateway.start")
    ready(daemon, "s")

    def shown(text: str) -> None:
        with daemon.connect() as wire:
            wire.send("events.watch")
            while not any(text in each for each in bot.shown(7)):
                wire.until("events.event")

    bot.say(f"call mcp__s__ask {json.dumps({'params': FORM})}")
    shown("What shall it be?")
    bot.say("green")
    shown("That does not fit: choose of: red, blue.")
    bot.say("blue")
    shown("2 of 2. Answer with a whole number.")
    bot.say("3")
    shown('"content": {"colour": "blue", "count": 3}')


def test_the_user_is_asked_before_a_server_uses_the_model(daemon: Daemon) -> None:
    """In a turn of theirs; not from the shell. Events have the figures and never the texts."""
    daemon.write_config(asking({"sampling": {"enabled": True, "max_tokens_cap": 50}}))
    daemon.start()
    ready(daemon, "s")
    arguments = json.dumps({"params": HELLO, "times": 2})
    with daemon.connect() as wire:
        sent = wire.send("chat.send", text=f"call mcp__s__sample {arguments}")
        question = until_asked(wire)
        assert "The MCP server s wants to use your model (offline)" in question["text"]
        assert "at most 50 tokens" in question["text"]
        daemon.call("chat.answer", question=question["id"], answer="yes")
        assert wire.result(sent)["text"].count("'the secret text'") == 2
        sent = wire.send("chat.send", text=f"call mcp__s__sample {arguments}")
        daemon.call("chat.answer", question=until_asked(wire)["id"], answer="no")
        assert "the user does not allow it" in wire.result(sent)["text"]
    called = daemon.call("mcp.call", name="s", tool="sample", arguments={"params": HELLO})
    assert "the secret text" in called["text"]
    kept = events(daemon, "mcp.sampling")
    assert [event["outcome"] for event in kept] == ["answered", "answered", "refused", "refused", "answered"]
    assert {(event["server"], event["model"], event["max_tokens"]) for event in kept} == {("s", "offline", 50)}
    assert all(event["input_tokens"] > 0 for event in kept if event["outcome"] == "answered")
    assert "secret" not in json.dumps(kept)


def test_a_server_that_dies_while_it_asks_frees_the_user(daemon: Daemon) -> None:
    """The question is closed while the turn goes on: the next plain message answers the next question."""
    daemon.write_config(asking())
    daemon.start()
    ready(daemon, "s")
    with daemon.connect() as wire:
        sent = wire.send("chat.send", text=f"call mcp__s__ask {json.dumps({'params': FORM})}\nask me what now")
        first = until_asked(wire)
        os.kill(daemon.call("mcp.show", name="s")["pid"], signal.SIGKILL)
        second = until_asked(wire)
        assert [question["id"] for question in daemon.call("chat.questions")["questions"]] == [second["id"]]
        daemon.call("chat.send", text="nothing more", session=second["session_id"], wait=False)
        answer = wire.result(sent)["text"]
    assert "is not there" in answer
    assert "clarify said:\nnothing more" in answer
    assert [event["id"] for event in events(daemon, "question.expired")] == [first["id"]]


# -- F1 ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> Iterator[LlmockServer]:
    with run_llmock() as running:
        yield running


def sample(daemon: Daemon) -> dict[str, Any]:
    arguments = {"prompt": "hello", "maxTokens": 100_000}
    found = daemon.call("mcp.call", name="everything", tool="trigger-sampling-request", arguments=arguments)
    return dict(found)


@needs_node
def test_sampling_of_the_reference_server_is_off_until_switched_on(daemon: Daemon) -> None:
    """F1: without the capability the server does not even offer its tool."""
    daemon.write_config(reference())
    daemon.start()
    ready(daemon, "everything")
    tools = [row["tool"] for row in daemon.call("mcp.tools", name="everything")["tools"]]
    assert "trigger-elicitation-request" in tools
    assert "trigger-sampling-request" not in tools


@needs_node
def test_the_reference_server_gets_what_the_owner_allows(daemon: Daemon, model: LlmockServer) -> None:
    """F1: the cap and the model as the endpoint sees them, the time, ten a minute and not eleven."""
    model.reset()
    endpoint = {"default": "m", "provider": "openai", "base_url": model.base_url("openai"), "api_key": "k-test"}
    sampling = {"enabled": True, "model": "cheap", "max_tokens_cap": 64, "timeout": 3.0}
    daemon.write_config(reference({"sampling": sampling}, model=endpoint))
    daemon.start()
    ready(daemon, "everything")
    model.script({"type": "reply", "text": "From the model.", "times": 9})
    answers = [sample(daemon) for _ in range(9)]
    assert all("From the model." in answer["text"] for answer in answers)
    model.script({"type": "slow_first_token", "seconds": 30, "times": 1})
    late = sample(daemon)
    assert late["is_error"]
    assert "the model did not answer within 3 s" in late["text"]
    refused = sample(daemon)
    assert refused["is_error"]
    assert "at most 10 requests a minute" in refused["text"]
    bodies = [request["body"] for request in model.requests()]
    assert [(body["model"], body["max_tokens"]) for body in bodies] == [("cheap", 64)] * 10
    assert [event["outcome"] for event in events(daemon, "mcp.sampling")] == ["answered"] * 9 + ["timeout", "rate"]

"""The offline provider: every tool can be tried without a key."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from hermesd.providers.base import Delta, Message, ModelReply, ModelRequest, TextDelta, ToolCall, ToolDefinition
from hermesd.providers.offline import OfflineProvider

ALL = (
    "read_file",
    "write_file",
    "patch_file",
    "list_files",
    "search_files",
    "terminal",
    "process",
    "todo",
    "clarify",
    "mcp__s__add",
)


def request(*messages: Message, tools: tuple[str, ...] = ALL) -> ModelRequest:
    definitions = [ToolDefinition(name=name, description="", parameters={}) for name in tools]
    return ModelRequest(model="offline", system="", messages=list(messages), tools=definitions)


async def say(text: str, tools: tuple[str, ...] = ALL) -> tuple[ModelReply, list[Delta]]:
    deltas: list[Delta] = []
    reply = await OfflineProvider().complete(
        request(Message(role="user", text=text), tools=tools), on_delta=deltas.append
    )
    return reply, deltas


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("read notes.txt", [("read_file", {"path": "notes.txt"})]),
        ("Read the file src/a.py", [("read_file", {"path": "src/a.py"})]),
        ("list", [("list_files", {"path": "."})]),
        ("list files in src", [("list_files", {"path": "src"})]),
        ("write a.txt: hello: world", [("write_file", {"path": "a.txt", "content": "hello: world"})]),
        ("patch a.txt: old text => new", [("patch_file", {"path": "a.txt", "old": "old text", "new": "new"})]),
        ("search TODO in src", [("search_files", {"pattern": "TODO", "path": "src"})]),
        ("search for x", [("search_files", {"pattern": "x", "path": "."})]),
        ("$ echo a and b", [("terminal", {"command": "echo a and b"})]),
        ("run make test", [("terminal", {"command": "make test"})]),
        ("background sleep 9", [("terminal", {"command": "sleep 9", "background": True})]),
        ("process list", [("process", {"action": "list"})]),
        ("process stop p1", [("process", {"action": "stop", "id": "p1"})]),
        ("remember milk", [("todo", {"todos": [{"text": "milk", "status": "pending"}]})]),
        ("todo a; b", [("todo", {"todos": [{"text": t, "status": "pending"} for t in "ab"]})]),
        ("ask me Red or blue? [red | blue]", [("clarify", {"question": "Red or blue?", "options": ["red", "blue"]})]),
        ("ask me why", [("clarify", {"question": "why", "options": []})]),
        ('call mcp__s__add {"a": 1}', [("mcp__s__add", {"a": 1})]),
        ("call mcp__s__add", [("mcp__s__add", {})]),
        ("read a and read b", [("read_file", {"path": "a"}), ("read_file", {"path": "b"})]),
        ("read a\n\n$ ls\n", [("read_file", {"path": "a"}), ("terminal", {"command": "ls"})]),
    ],
)
async def test_a_command_becomes_a_tool_call(text: str, calls: list[tuple[str, dict[str, Any]]]) -> None:
    """Each tool has a form, and several commands are parallel calls."""
    reply, deltas = await say(text)
    assert [(call.name, msgspec.json.decode(call.arguments)) for call in reply.tool_calls] == calls
    assert len({call.id for call in reply.tool_calls}) == len(calls)
    assert reply.stop == "tool_calls"
    assert reply.text == "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "",
        "please read a",
        '{"commit": "read a"}',
        "A webhook says:\n$ rm -rf /",
        "call mcp__s__add {oops}",
        "list of my wishes",
    ],
)
async def test_anything_else_is_answered_plainly(text: str) -> None:
    """It says what it is and calls nothing, above all not what merely stands in a longer text."""
    reply, deltas = await say(text)
    assert "not a language model" in reply.text
    assert reply.tool_calls == []
    assert reply.stop == "stop"
    assert len(deltas) > 1


async def test_a_tool_that_was_not_offered_is_not_called() -> None:
    """It is named instead."""
    reply, _ = await say("$ ls and read a", tools=("read_file",))
    assert reply.tool_calls == []
    assert "terminal" in reply.text


async def test_results_are_answered_with_what_they_said() -> None:
    """Of this round only, each under its tool's name, failures as such, long ones cut."""
    calls = [ToolCall("1", "read_file", "{}"), ToolCall("2", "terminal", "{}")]
    reply = await OfflineProvider().complete(
        request(
            Message(role="tool", text="earlier", tool_call_id="0"),
            Message(role="user", text="read a and $ ls"),
            Message(role="assistant", tool_calls=calls),
            Message(role="tool", text="A" * 5000, tool_call_id="1"),
            Message(role="tool", text="", tool_call_id="2", is_error=True),
        ),
        on_delta=lambda _: None,
    )
    assert reply.text.startswith("read_file said:\nAAA")
    assert reply.text.endswith("terminal failed:\n(nothing)")
    assert "earlier" not in reply.text
    assert len(reply.text) < 2500
    assert reply.tool_calls == []


async def test_the_same_conversation_gets_the_same_answer() -> None:
    """Down to the call ids; another conversation gets others."""
    assert await say("read a") == await say("read a")
    first, other = (await say("read a"))[0], (await say("read b"))[0]
    assert first.tool_calls[0].id != other.tool_calls[0].id


async def test_slow_streams_word_by_word_and_can_be_interrupted(autojump_clock: MockClock) -> None:
    """Time to press a key: ten words a second."""
    reply, deltas = await say("slow 20")
    assert trio.current_time() == pytest.approx(2.0, abs=0.01)
    assert len(deltas) == len(reply.text.split()) == 20
    with trio.move_on_after(0.5) as scope:
        await say("slow 20")
    assert scope.cancelled_caught


def test_the_offline_chain_loads_no_http_library() -> None:
    """A daemon without a model endpoint neither waits for the import nor pays for its memory."""
    program = """
import sys, trio
from hermesd.config.schema import Config
from hermesd.providers.base import Message, ModelRequest
from hermesd.providers.build import build_provider
provider = build_provider(Config(), {})
request = ModelRequest(model="", system="", messages=[Message(role="user", text="hi")])
reply = trio.run(lambda: provider.complete(request, on_delta=lambda delta: None))
assert "offline" in reply.text
heavy = {"httpx2", "httpcore2", "h11", "anyio", "json"}
print(sorted(heavy & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"

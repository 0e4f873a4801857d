"""Tool calls written as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.providers.recovery import MAX_TEXT_CHARS, TextGate, recover_tool_calls

OFFERED = {"read_file", "terminal"}
CALL = '{"name": "read_file", "arguments": {"path": "a"}}'


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        f"  {CALL}\n",
        f"```json\n{CALL}\n```",
        f"```\n{CALL}\n```",
        f"```tool_call\n{CALL}```",
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"[{CALL}]",
        '{"name": "read_file", "parameters": {"path": "a"}}',
        '{"type": "function", "function": {"name": "read_file", "arguments": "{\\"path\\": \\"a\\"}"}}',
        f'{{"tool_calls": [{CALL}]}}',
    ],
)
def test_the_forms_models_write_are_recovered(text: str) -> None:
    """Bare, fenced, tagged, listed, in OpenAI's own shape: all mean the same call."""
    said, [call] = recover_tool_calls(text, OFFERED)
    assert said == ""
    assert (call.name, json.loads(call.arguments)) == ("read_file", {"path": "a"})
    assert call.id


def test_what_is_said_before_a_fenced_call_stays_text() -> None:
    """Small models announce what they do."""
    said, calls = recover_tool_calls(f"Let me look.\n```json\n{CALL}\n```", OFFERED)
    assert said == "Let me look."
    assert len(calls) == 1


@pytest.mark.parametrize(
    "text", [f"{CALL}\n{CALL}", f"```json\n{CALL}\n```\n```json\n{CALL}\n```", f"<tool_call>{CALL}</tool_call>" * 2]
)
def test_several_calls_in_a_row_are_all_recovered(text: str) -> None:
    """Each has its own id."""
    _, calls = recover_tool_calls(text, OFFERED)
    assert len({call.id for call in calls}) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain words",
        '{"name": "rm_rf", "arguments": {}}',
        '{"name": "read_file", "arguments": "no JSON"}',
        '{"name": "read_file", "arguments": {"path": ',
        '{"answer": 42}',
        f"```json\n{CALL}\n```\nis how a call looks.",
        f"A call looks like {CALL}",
        f'[{CALL}, {{"name": "rm_rf", "arguments": {{}}}}]',
        f"{CALL} and more",
        "{" * 50_000,
        CALL + " " * MAX_TEXT_CHARS,
    ],
)
def test_anything_else_stays_text(text: str) -> None:
    """A tool nobody offered, broken JSON, an example within prose: nothing is called."""
    assert recover_tool_calls(text, OFFERED) == (text, [])


def test_nothing_is_recovered_when_no_tool_was_offered() -> None:
    """Then JSON is an answer."""
    assert recover_tool_calls(CALL, set()) == (CALL, [])


@given(st.lists(st.text(alphabet='{}[]`json\n <tool_call>"x', max_size=6), max_size=10), st.booleans())
def test_the_gate_loses_and_reorders_nothing(pieces: list[str], tools: bool) -> None:
    """Once released, everything fed has been emitted in order; without tools it passes at once."""
    emitted: list[str] = []
    gate = TextGate(emitted.append, tools_offered=tools)
    for piece in pieces:
        gate.feed(piece)
        if not tools:
            assert emitted[-1] == piece
    gate.release()
    assert "".join(emitted) == "".join(pieces)


@pytest.mark.parametrize("text", [CALL, f"\n```json\n{CALL}", f"<tool_call>{CALL}"])
def test_the_gate_shows_nothing_of_what_may_be_a_call(text: str) -> None:
    """Letter by letter, nothing gets out until it is decided at the end."""
    emitted: list[str] = []
    gate = TextGate(emitted.append, tools_offered=True)
    for letter in text:
        gate.feed(letter)
    gate.drop()
    gate.release()
    assert emitted == []


def test_the_gate_opens_at_the_first_letter_that_rules_a_call_out() -> None:
    """Prose and code in another language stream as they come."""
    emitted: list[str] = []
    gate = TextGate(emitted.append, tools_offered=True)
    for letter in "```py":
        gate.feed(letter)
    assert "".join(emitted) == "```p"[:4] + "y"

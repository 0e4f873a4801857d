"""The two tools that work on the conversation itself."""

from __future__ import annotations

from hermesd.tools.base import ToolContext, ToolResult
from hermesd.tools.clarify import Clarify
from hermesd.tools.todo import Todo

from .conftest import MemoryState, Person

LIST = [{"content": "read", "status": "completed"}, {"content": "write", "status": "in_progress"}, {"content": "test"}]


async def test_the_list_is_kept_with_the_session(context: ToolContext) -> None:
    """Set whole, read later, emptied."""
    assert await Todo().run({}, context) == ToolResult("the list is empty")
    shown = "[x] read\n[~] write\n[ ] test"
    for arguments in ({"todos": LIST}, {}, {"todos": LIST}):
        assert (await Todo().run(arguments, context)).text == shown
    assert isinstance(context.state, MemoryState)
    assert list(context.state.values) == ["todo"]
    assert (await Todo().run({"todos": []}, context)).text == "the list is empty"
    assert context.state.values == {}


def test_reading_the_list_reads_and_setting_it_can_be_repeated() -> None:
    """The effect goes by the arguments."""
    assert Todo().effect({}) == "read_only"
    assert Todo().effect({"todos": []}) == "idempotent"


async def test_the_persons_answer_is_the_result(context: ToolContext, person: Person) -> None:
    """It is the user's own word, so it is trusted."""
    person.answers = ["blue"]
    assert await Clarify().run({"question": "which?", "options": ["red", "blue"]}, context) == ToolResult("blue")
    assert person.questions == [("which?", ["red", "blue"])]


async def test_silence_is_an_error(context: ToolContext, person: Person) -> None:
    """The model goes on by itself, and says so."""
    person.answers = [None]
    result = await Clarify().run({"question": "which?"}, context)
    assert result.is_error
    assert not result.untrusted

"""The offline provider: no key, no network, no model. It lets everything else be tried.

It answers by fixed rules, the same every time. A message each line of which is a command it knows ("read notes.txt
and list .", "$ date") becomes tool calls, of offered tools only; anything else gets one plain answer. Text that merely
contains a command (a webhook's payload) calls nothing.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.providers.base import ModelReply, TextDelta, ToolCall, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.providers.base import Delta, Message, ModelRequest

WORD_S = 0.1
_DELTA_CHARS = 60
_QUOTED_CHARS = 200
_RESULT_CHARS = 2000
_UNMARKED = re.compile(
    r"^</?untrusted>$", re.MULTILINE
)  # the marks are for a model that could be talked into something

INTRODUCTION = "I am hermesd's offline stand-in, not a language model: I answer by fixed rules."


class OfflineProvider:
    """Implements ``base.Provider``."""

    name = "offline"

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        """Answer at once, but for "slow N", which takes N times ``WORD_S``."""
        from hermesd.providers.offline_commands import slow_words

        asked, results = _split(request.messages)
        calls: list[ToolCall] = []
        pause = 0.0
        if results:
            pieces = _pieces(_report(request.messages, results))
        elif (words := slow_words(asked)) is not None:
            pieces, pause = [f"word{n} " for n in range(1, words + 1)], WORD_S
        else:
            text, calls = _answer(asked, request)
            pieces = _pieces(text)
        for piece in pieces:
            await trio.sleep(pause)
            on_delta(TextDelta(piece))
        await trio.lowlevel.checkpoint()
        text = "".join(pieces)
        return ModelReply(
            text=text,
            tool_calls=calls,
            stop="tool_calls" if calls else "stop",
            usage=_usage(request, text, calls),
            model="offline",
            provider=self.name,
        )

    async def aclose(self) -> None:
        """Nothing is open."""


def _split(messages: list[Message]) -> tuple[str, list[Message]]:
    """What was asked last, and the tool results that have come since."""
    results: list[Message] = []
    for message in reversed(messages):
        if message.role == "tool":
            results.insert(0, message)
        elif message.role == "user":
            return message.text.strip(), results
    return "", results


def _answer(asked: str, request: ModelRequest) -> tuple[str, list[ToolCall]]:
    from hermesd.providers.offline_commands import HELP, parse_commands

    commands = parse_commands(asked)
    if not commands:
        quoted = asked if len(asked) <= _QUOTED_CHARS else asked[: _QUOTED_CHARS - 1] + "…"
        return f"{INTRODUCTION} You wrote: {quoted!r}.\n{HELP}", []
    offered = {tool.name for tool in request.tools}
    missing = sorted({name for name, _ in commands} - offered)
    if missing:
        return f"{INTRODUCTION} That needs {', '.join(missing)}, which is not enabled here.", []
    stem = blake2b(msgspec.msgpack.encode(request.messages), digest_size=6).hexdigest()
    calls = [
        ToolCall(id=f"call_{stem}_{n}", name=name, arguments=msgspec.json.encode(arguments).decode())
        for n, (name, arguments) in enumerate(commands)
    ]
    return f"Calling {', '.join(call.name for call in calls)}.", calls


def _report(messages: list[Message], results: list[Message]) -> str:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    parts = []
    for result in results:
        name = names.get(result.tool_call_id, "the tool")
        text = _UNMARKED.sub("", result.text).strip() or "(nothing)"
        if len(text) > _RESULT_CHARS:
            text = text[: _RESULT_CHARS - 1] + "…"
        parts.append(f"{name} {'failed' if result.is_error else 'said'}:\n{text}")
    return "\n\n".join(parts)


def _pieces(text: str) -> list[str]:
    return [text[at : at + _DELTA_CHARS] for at in range(0, len(text), _DELTA_CHARS)]


def _usage(request: ModelRequest, text: str, calls: list[ToolCall]) -> Usage:
    """A token for four characters: nobody bills this, but budgets can be tried."""
    asked = len(request.system) + sum(len(message.text) for message in request.messages)
    said = len(text) + sum(len(call.arguments) for call in calls)
    return Usage(input_tokens=-(-asked // 4), output_tokens=-(-said // 4))

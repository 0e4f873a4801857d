"""Tool calls that a model wrote as text instead of calling: bare JSON, a fenced block, or ``<tool_call>`` tags.

Small and local models do this when their chat template has no call form. A call is recovered only if the tool it
names was offered, and only from the whole answer or its end: JSON that is merely mentioned stays text.
"""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

import msgspec

from hermesd.providers.base import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

MAX_TEXT_CHARS = 256 * 1024

_OPENERS = ("{", "[{", "[\n", "```json", "```tool", "```\n", "<tool_call>", "<function_call>")
_FENCE = re.compile(r"```[a-z_]*[ \t]*\n(.*?)\n?```", re.DOTALL)
_TAG = re.compile(r"<(tool_call|function_call)>(.*?)</\1>", re.DOTALL)


def new_call_id() -> str:
    """An id for a call that came without a usable one."""
    return f"call_{os.urandom(8).hex()}"


def recover_tool_calls(text: str, offered: Collection[str]) -> tuple[str, list[ToolCall]]:
    """Split an answer into what is said and the calls written in it; ``(text, [])`` when there are none."""
    if not offered or "{" not in text or len(text) > MAX_TEXT_CHARS:
        return text, []
    stripped = text.strip()
    for said, blocks in _candidates(stripped):
        calls = [call for block in blocks for call in _calls_in(block, offered)]
        if calls and len(calls) >= len(blocks):
            return said, calls
    return text, []


def _candidates(text: str) -> list[tuple[str, list[str]]]:
    """What may be calls: the whole text; else the run of tags or fences that ends it, after what is said."""
    found: list[tuple[str, list[str]]] = []
    if text[0] in "{[":
        found.append(("", [text]))
    for pattern, group in ((_TAG, 2), (_FENCE, 1)):
        matches = list(pattern.finditer(text))
        start = len(text)
        blocks: list[str] = []
        for match in reversed(matches):
            if text[match.end() : start].strip():
                break
            start = match.start()
            blocks.insert(0, match.group(group))
        if blocks:
            found.append((text[:start].strip(), blocks))
    return found


def _calls_in(block: str, offered: Collection[str]) -> list[ToolCall]:
    """The calls of one block: one object, several in a row, a list, or ``{"tool_calls": [...]}``."""
    values = _json_values(block)
    if len(values) == 1 and isinstance(values[0], dict) and isinstance(values[0].get("tool_calls"), list):
        values = values[0]["tool_calls"]
    elif len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    calls = [_call(value, offered) for value in values]
    return [call for call in calls if call is not None] if all(calls) else []


def _json_values(block: str) -> list[Any]:  # any JSON: what a model wrote
    """The JSON values that make up the whole block; [] when there is anything else in it."""
    decoder = json.JSONDecoder()
    values: list[Any] = []  # as above
    at = 0
    block = block.strip()
    while at < len(block):
        try:
            value, at = decoder.raw_decode(block, at)
        except (ValueError, RecursionError):
            return []
        values.append(value)
        while at < len(block) and block[at] in " \t\r\n,;":
            at += 1
    return values


def _call(value: object, offered: Collection[str]) -> ToolCall | None:
    written: dict[str, Any] = value if isinstance(value, dict) else {}  # any JSON: what a model wrote
    if isinstance(written.get("function"), dict):
        written = written["function"]
    name = written.get("name") or written.get("tool")
    arguments = written.get("arguments", written.get("parameters", {}))
    if isinstance(arguments, str):
        arguments = (_json_values(arguments) or [None])[0]
    if not isinstance(name, str) or name not in offered or not isinstance(arguments, dict):
        return None
    return ToolCall(id=new_call_id(), name=name, arguments=msgspec.json.encode(arguments).decode())


class TextGate:
    """Holds streamed text back while it may turn out to be a tool call, so nobody is shown raw JSON first.

    undecided ──first characters cannot begin a call──► open (everything passes)
        └──────they do─────────────────────────────────► held until the answer ends
    """

    def __init__(self, emit: Callable[[str], None], *, tools_offered: bool) -> None:
        self._emit = emit
        self._open = not tools_offered
        self._held: list[str] = []
        self._start = ""
        self._decided = False

    def feed(self, text: str) -> None:
        """Pass the text on, or keep it."""
        if self._open:
            self._emit(text)
            return
        self._held.append(text)
        if self._decided:
            return
        self._start = (self._start + text).lstrip()
        if any(self._start.startswith(opener) for opener in _OPENERS):
            self._decided = True
        elif self._start and not any(opener.startswith(self._start) for opener in _OPENERS):
            self.release()

    def release(self) -> None:
        """What was held is text after all."""
        self._open = True
        if self._held:
            self._emit("".join(self._held))
            self._held.clear()

    def drop(self) -> None:
        """What was held was a call: nobody needs to see it."""
        self._held.clear()

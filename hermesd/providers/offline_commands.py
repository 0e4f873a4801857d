"""The little command language of the offline provider: a line, or parts of it joined by "and", is a tool call."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

Arguments = dict[str, object]
Command = tuple[str, Arguments]

MAX_COMMANDS = 16
MAX_SLOW_WORDS = 10_000

HELP = (
    "Try: read FILE · list [DIR] · write FILE: TEXT · patch FILE: OLD => NEW · search PATTERN [in DIR] ·\n"
    "$ COMMAND · background COMMAND · todo ONE; TWO · ask me QUESTION [A | B] · slow 20 ·\n"
    "schedule WHEN: PROMPT · call TOOL {JSON}.\n"
    "For a real model set model.default in config.yaml and its key in .env."
)


def _todo(match: re.Match[str]) -> Arguments:
    items = [item.strip() for item in match["items"].split(";")]
    return {"todos": [{"text": item, "status": "pending"} for item in items if item]}


def _question(match: re.Match[str]) -> Arguments:
    options = [option.strip() for option in (match["options"] or "").split("|")]
    return {"question": match["question"].strip(), "options": [option for option in options if option]}


def _process(match: re.Match[str]) -> Arguments:
    return {"action": match["action"].lower()} | ({"id": match["id"]} if match["id"] else {})


_FORMS: tuple[tuple[str, re.Pattern[str], Callable[[re.Match[str]], Arguments]], ...] = tuple(
    (tool, re.compile(pattern, re.IGNORECASE | re.DOTALL), arguments)
    for tool, pattern, arguments in (
        ("terminal", r"\$ *(?P<command>\S.*)", lambda m: {"command": m["command"]}),
        (
            "cron",
            r"schedule +(?P<schedule>.+?): +(?P<prompt>\S.*)",
            lambda m: {"action": "create", "schedule": m["schedule"], "prompt": m["prompt"]},
        ),
        ("terminal", r"run +(?P<command>\S.*)", lambda m: {"command": m["command"]}),
        ("terminal", r"background +(?P<command>\S.*)", lambda m: {"command": m["command"], "background": True}),
        ("write_file", r"write +(?P<path>\S+) *: ?(?P<text>.*)", lambda m: {"path": m["path"], "content": m["text"]}),
        (
            "patch_file",
            r"patch +(?P<path>\S+) *: *(?P<old>.+?) *=> *(?P<new>.*)",
            lambda m: {"path": m["path"], "old": m["old"], "new": m["new"]},
        ),
        ("read_file", r"read +(?:the +)?(?:file +)?(?P<path>[^\s:;]+)", lambda m: {"path": m["path"]}),
        (
            "list_files",
            r"list(?: +(?:the +)?(?:files +)?(?:in +)?(?P<path>[^\s:;]+))?",
            lambda m: {"path": m["path"] or "."},
        ),
        (
            "search_files",
            r"search +(?:for +)?(?P<pattern>\S.*?)(?: +in +(?P<path>\S+))?",
            lambda m: {"pattern": m["pattern"], "path": m["path"] or "."},
        ),
        ("process", r"process +(?P<action>\w+)(?: +(?P<id>\S+))?", _process),
        ("todo", r"(?:todo|remember)[ :]+(?P<items>\S.*)", _todo),
        ("clarify", r"ask me +(?P<question>[^\[]+?) *(?:\[(?P<options>[^\]]*)\])?", _question),
    )
)
_CALL = re.compile(r"call +(?P<tool>[A-Za-z_][\w-]*) *(?P<arguments>\{.*\})?", re.DOTALL)
_SLOW = re.compile(r"slow +(\d{1,5})", re.IGNORECASE)
_AND = re.compile(r",? +(?:and|then) +", re.IGNORECASE)


def parse_commands(text: str) -> list[Command]:
    """The tool calls a message asks for; [] unless every line of it is a command."""
    commands: list[Command] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        found = _line(line)
        commands.extend(found)
        if not found or len(commands) > MAX_COMMANDS:
            return []
    return commands


def slow_words(text: str) -> int | None:
    """N of "slow N", at most 10,000."""
    match = _SLOW.fullmatch(text.strip())
    return min(int(match[1]), MAX_SLOW_WORDS) if match else None


def _line(line: str) -> list[Command]:
    """Parts joined by "and" if each is a command ("read a and read b"), else the line as a whole ("$ a and b")."""
    parts = [_one(part) for part in _AND.split(line)]
    if all(parts):
        return [part for part in parts if part is not None]
    whole = _one(line)
    return [whole] if whole else []


def _one(text: str) -> Command | None:
    for tool, pattern, arguments in _FORMS:
        match = pattern.fullmatch(text.strip())
        if match:
            return tool, arguments(match)
    return _call(text.strip())


def _call(text: str) -> Command | None:
    """A tool by its name; arguments may be left out for an MCP server's, whose name is like no other word."""
    match = _CALL.fullmatch(text)
    if match and match["arguments"] is None and not match["tool"].startswith("mcp__"):
        return None
    try:
        return (match["tool"], msgspec.json.decode(match["arguments"] or "{}", type=Arguments)) if match else None
    except msgspec.DecodeError:
        return None

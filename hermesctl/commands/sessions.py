"""``hermesctl sessions list|show|search``: conversations, rendered by the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import actions

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "conversations, most recently used first",
    "show": "the messages of one",
    "search": 'messages that contain words, "phrases" or beginnings*',
}


def register(parser: argparse.ArgumentParser) -> None:
    """The three actions."""
    verbs = actions(parser, ACTIONS, default="list")
    for each in (parser, *verbs.values()):
        each.add_argument("-n", "--limit", type=int, metavar="N", help="at most this many")
    verbs["show"].add_argument("session", metavar="SESSION", help="a session's id or its beginning")
    verbs["search"].add_argument("query", nargs="+", metavar="WORD")


def run(args: argparse.Namespace, context: Context) -> int:
    """All three only read."""
    return context.render()

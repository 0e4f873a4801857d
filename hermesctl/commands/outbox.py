"""``hermesctl outbox list|show|retry|drop``: messages on their way out, and dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import actions

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "messages that are not sent yet, held or given up",
    "show": "one with its text, its attempts and the last error",
    "retry": "send it (again)",
    "drop": "never send it",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The four actions."""
    verbs = actions(parser, ACTIONS, default="list")
    for each in (parser, verbs["list"]):
        each.add_argument("--state", action="append", metavar="STATE", help="only rows in this state; may be repeated")
        each.add_argument("--dead", action="store_true", help="dead letters: rows that are given up")
        each.add_argument("-a", "--all", action="store_true", help="rows in every state, sent ones too")
        each.add_argument("-n", "--limit", type=int, metavar="N", help="at most this many (50)")
    for name in ("show", "retry", "drop"):
        verbs[name].add_argument("id", type=int, metavar="ID")


def run(args: argparse.Namespace, context: Context) -> int:
    """Reading is rendered by the daemon; a decision is one call."""
    if args.action in ("list", "show"):
        return context.render()
    return context.show(context.call("outbox.resolve", id=args.id, action=args.action))

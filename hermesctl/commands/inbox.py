"""``hermesctl inbox list|show|retry|resume|drop``: accepted messages, and decisions on parked or failed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import actions

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "messages that wait, run, failed or need a decision",
    "show": "one with its turn and journal",
    "retry": "answer it again from the beginning",
    "resume": "go on with the turn; --note stands for the result of the step whose outcome is unknown",
    "drop": "forget it",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The five actions."""
    verbs = actions(parser, ACTIONS, default="list")
    for each in (parser, verbs["list"]):
        each.add_argument("--state", action="append", metavar="STATE", help="only rows in this state; may be repeated")
        each.add_argument("-a", "--all", action="store_true", help="rows in every state")
        each.add_argument("-n", "--limit", type=int, metavar="N", help="at most this many (50)")
    for name in ("show", "retry", "resume", "drop"):
        verbs[name].add_argument("id", type=int, metavar="ID")
    verbs["resume"].add_argument("--note", default="", metavar="TEXT", help="what the model is told the step did")


def run(args: argparse.Namespace, context: Context) -> int:
    """Reading is rendered by the daemon; a decision is one call."""
    if args.action in ("list", "show"):
        return context.render()
    note = getattr(args, "note", "")
    return context.show(context.call("inbox.resolve", id=args.id, action=args.action, note=note))

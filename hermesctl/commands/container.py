"""``hermesctl container …``: the container that hermesd lives in, seen from its host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hermesctl.arguments import actions
from hermesd.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "pass-signal": "in the container: pass a signal to a call that came from outside",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    verbs = actions(parser, ACTIONS)
    signalled = verbs["pass-signal"]
    signalled.add_argument("signal", choices=("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"))
    signalled.add_argument("age", type=float, metavar="SECONDS", help="how long ago the call was made")
    signalled.add_argument("arguments", metavar="JSON", help="its arguments, as a list")


def run(args: argparse.Namespace, context: Context) -> int:
    """One action."""
    from hermesctl.routing.inside import pass_signal

    pid = pass_signal(args.signal, args.age, _list_of_words(args.arguments))
    return context.show({"pid": pid}, f"{args.signal} was sent to {pid}")


def _list_of_words(text: str) -> list[str]:
    try:
        words = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the arguments are not JSON: {error}") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError("the arguments must be a list of strings")
    return words

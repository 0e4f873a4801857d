"""``hermesctl container …``: the container that hermesd lives in, managed from its host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hermesctl.arguments import actions
from hermesd.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "ensure": "make files, links and container as a manifest declares; nothing to do is no change",
    "start": "start it",
    "stop": "stop hermesd in order, and the container with it",
    "status": "whether it runs, and whether it is as declared; status 1 if not",
    "exec": "run a program in it, after --",
    "recreate": "replace it by a fresh one; what apt or pip has installed in it is lost, the state stays",
    "pass-signal": "in the container: pass a signal to a call that came from outside",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The actions, most of them for a manifest."""
    verbs = actions(parser, ACTIONS)
    signalled = verbs.pop("pass-signal")
    for action in verbs.values():
        action.add_argument("--manifest", required=True, metavar="FILE", help="the JSON that declares the container")
        action.add_argument("--dry-run", action="store_true", help="print what would be done and run, and do nothing")
    verbs["start"].add_argument("--attach", action="store_true", help="stay with it, as the process of a service")
    verbs["exec"].add_argument("-u", "--user", default="", metavar="USER", help="instead of the agent, e.g. root")
    verbs["exec"].add_argument("words", nargs="+", metavar="WORD", help="the program and its arguments")
    signalled.add_argument("signal", choices=("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"))
    signalled.add_argument("age", type=float, metavar="SECONDS", help="how long ago the call was made")
    signalled.add_argument("arguments", metavar="JSON", help="its arguments, as a list")


def run(args: argparse.Namespace, context: Context) -> int:
    """One action."""
    if args.action == "pass-signal":
        from hermesctl.routing.inside import pass_signal

        pid = pass_signal(args.signal, args.age, _list_of_words(args.arguments))
        return context.show({"pid": pid}, f"{args.signal} was sent to {pid}")
    from hermesctl.host_container import HostContainer

    container = HostContainer.of(args.manifest, context, dry_run=args.dry_run)
    if args.action == "start":
        return container.start(attach=args.attach)
    if args.action == "exec":
        return container.exec(args.words, user=args.user)
    status: int = getattr(container, args.action)()
    return status


def _list_of_words(text: str) -> list[str]:
    try:
        words = json.loads(text)
    except ValueError as error:
        raise UsageError(f"the arguments are not JSON: {error}") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UsageError("the arguments must be a list of strings")
    return words

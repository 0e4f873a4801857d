"""``hermesctl profile list|show|create|use|rename|delete``: the agents of this home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import actions
from hermesd.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "every profile, default first",
    "show": "one profile",
    "create": "make one",
    "use": "make it the one that calls without -p mean",
    "rename": "give it another name",
    "delete": "remove it and everything it holds",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The six actions."""
    verbs = actions(parser, ACTIONS, default="list")
    verbs["show"].add_argument("name", nargs="?", metavar="NAME", help="the current one when left out")
    for name in ("create", "use", "rename", "delete"):
        verbs[name].add_argument("name", metavar="NAME")
    verbs["rename"].add_argument("new_name", metavar="NEW_NAME")
    create = verbs["create"]
    create.add_argument(
        "--clone", action="store_true", help="copy config.yaml, .env and SOUL.md of the default profile"
    )
    create.add_argument("--clone-from", default="", metavar="NAME", help="copy them from this profile")
    create.add_argument("--description", default="", metavar="TEXT", help="what it is for")
    verbs["delete"].add_argument("-y", "--yes", action="store_true", help="do not ask")


def run(args: argparse.Namespace, context: Context) -> int:
    """Reading is rendered by the daemon; everything else is one call."""
    if args.action in ("list", "show"):
        return context.render()
    params = {"name": args.name}
    if args.action == "create":
        params["clone_from"] = args.clone_from or ("default" if args.clone else "")
        params["description"] = args.description
    elif args.action == "rename":
        params["new_name"] = args.new_name
    elif args.action == "delete" and not args.yes and not _sure(args.name):
        return 1
    return context.show(context.act(f"profile.{args.action}", **params))


def _sure(name: str) -> bool:
    from hermesctl.output import confirm, is_interactive

    if not is_interactive():
        raise UsageError("a profile is deleted only when told twice", next_step="add --yes")
    return confirm(f"Delete the profile {name!r} with its sessions, memories and files?", default=False)

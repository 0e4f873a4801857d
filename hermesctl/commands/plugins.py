"""``hermesctl plugins``: code of others that runs in the daemon. Nothing runs that is not enabled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import actions
from hermesd.errors import UnreachableError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "every plugin: state, version, tools, error",
    "show": "one plugin with its tools",
    "enable": "name it in config.yaml and load it; an enabled one is loaded anew",
    "disable": "take it out of config.yaml",
}
READING = ("list", "show")


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    verbs = actions(parser, ACTIONS, default="list")
    for action in ("show", "enable", "disable"):
        verbs[action].add_argument("name", metavar="NAME")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action for the profile after ``-p``, or the current one."""
    if args.action in READING:
        return context.render()
    try:
        return context.show(context.act(f"plugins.{args.action}", name=args.name, profile=context.profile))
    except UnreachableError:
        return _in_the_file(args, context)


def _in_the_file(args: argparse.Namespace, context: Context) -> int:
    """No daemon runs: the file is changed here, and none of the plugin's code is run."""
    from hermesd.plugins.discovery import discover
    from hermesd.plugins.host import check_loadable
    from hermesd.plugins.sidecar_path import extend_path
    from hermesd.plugins.switch import switch
    from hermesd.profiles import ProfileStore

    on = args.action == "enable"
    profile = context.home.profile(context.profile or ProfileStore(context.home).current())
    if on:
        extend_path(home := context.home.around.root)
        check_loadable(args.name, discover(profile, home))
    switch(context.home, profile, args.name, on=on)
    message = f"{args.name} is {args.action}d\nno daemon is running; this counts when one is started"
    return context.show({"name": args.name, "message": message}, message)

"""``hermesctl gateway list|status|start|stop|restart``: the chat platforms of a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import actions

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "every gateway with its platforms",
    "status": "one gateway",
    "start": "start it, and keep it started across restarts of the daemon",
    "stop": "finish what is under way and stop it, and keep it stopped",
    "restart": "stop and start it; failed services get a new chance",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The five actions."""
    verbs = actions(parser, ACTIONS, default="list")
    for name in ("status", "start", "stop", "restart"):
        verbs[name].add_argument("name", nargs="?", default="", metavar="PROFILE", help="instead of -p")
    for name in ("start", "stop", "restart"):
        verbs[name].add_argument("--all", action="store_true", help="every profile")


def run(args: argparse.Namespace, context: Context) -> int:
    """Reading is rendered by the daemon; everything else is one call."""
    if args.action in ("list", "status"):
        return context.render()
    profile = args.name or context.profile
    return context.show(context.act(f"gateway.{args.action}", profile=profile, all=args.all))

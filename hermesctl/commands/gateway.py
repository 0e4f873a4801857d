"""``hermesctl gateway list|status|start|stop|restart|setup|install|uninstall``: the chat platforms of a profile."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hermesctl import daemon_service
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
    "setup": "answer questions about its platforms, or about those that are named",
    "install": "as `hermesctl service install`: one daemon runs every gateway",
    "uninstall": "as `hermesctl service uninstall`",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The actions."""
    verbs = actions(parser, ACTIONS, default="list")
    for name in ("status", "start", "stop", "restart"):
        verbs[name].add_argument("name", nargs="?", default="", metavar="PROFILE", help="instead of -p")
    for name in ("start", "stop", "restart"):
        verbs[name].add_argument("--all", action="store_true", help="every profile")
    verbs["setup"].add_argument("platform", nargs="*", metavar="PLATFORM", help="e.g. webhook; none: it asks which")
    daemon_service.add_install(verbs["install"])
    daemon_service.add_uninstall(verbs["uninstall"])


def run(args: argparse.Namespace, context: Context) -> int:
    """Reading is rendered by the daemon; everything else is one call."""
    if args.action in ("list", "status"):
        return context.render()
    if args.action == "setup":
        from hermesctl.commands import setup

        return setup.ask(context, args.platform or ["gateway"])
    if args.action in ("install", "uninstall"):
        return (daemon_service.install if args.action == "install" else daemon_service.uninstall)(args, context)
    profile = args.name or context.profile
    status = context.show(context.act(f"gateway.{args.action}", profile=profile, all=args.all))
    if args.action == "start" and not args.all and not context.json:
        _hint(context, profile)
    return status


def _hint(context: Context, profile: str) -> None:
    """A gateway without a platform runs and connects nothing: say so."""
    found = context.call("profile.show", name=profile)
    if not found.get("platforms"):
        name = "" if found.get("current") else f" -p {found['name']}"
        print(f"notice: no chat platform is enabled for {found['name']}", file=sys.stderr)
        print(f"  → `hermesctl{name} gateway setup`", file=sys.stderr)

"""``hermesctl service start|stop|restart NAME``: one service of the tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import actions

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "start": "start a stopped or failed service",
    "stop": "stop it until it is started again",
    "restart": "stop and start it",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The three actions."""
    for action in actions(parser, ACTIONS).values():
        action.add_argument("name", metavar="SERVICE", help="its path in `hermesctl tree`, e.g. profile/coder/telegram")


def run(args: argparse.Namespace, context: Context) -> int:
    """One call."""
    return context.show(context.act(f"service.{args.action}", name=args.name))

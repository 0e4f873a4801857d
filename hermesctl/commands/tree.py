"""``hermesctl tree [SERVICE] [--watch]``: the supervision tree, once or redrawn whenever something changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

CLEAR_SCREEN = "\x1b[H\x1b[2J"


def register(parser: argparse.ArgumentParser) -> None:
    """SERVICE and --watch."""
    parser.add_argument("service", nargs="?", metavar="SERVICE", help="show this part of the tree only")
    parser.add_argument("-w", "--watch", action="store_true", help="draw it again at every change, until Ctrl-C")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print it, or watch it."""
    if not args.watch:
        return context.render()
    context.argv = [word for word in context.argv if word not in ("-w", "--watch")]

    def draw(update: dict[str, Any]) -> None:  # a JSON object
        if not update or str(update["event"]["kind"]).startswith("service."):
            print(CLEAR_SCREEN, end="")
            context.render()

    newest = context.call("events.list", limit=1).get("last_id", 0)
    draw({})
    context.stream("events.watch", draw, since=newest)
    return 0

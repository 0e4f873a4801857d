"""``hermesctl logs [--follow] [-n N]``: the daemon's log, one line an event."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context


def register(parser: argparse.ArgumentParser) -> None:
    """--follow, -n, --level and --service."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines until Ctrl-C")
    parser.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="how many of the last lines (50)")
    parser.add_argument("--level", default="", help="this level and above: debug, info, warning, error")
    parser.add_argument("--service", default="", metavar="NAME", help="lines of this service and those below it")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print the last lines, or follow."""
    if not args.follow:
        return context.render()
    from hermesctl.output import columns, use_color
    from hermesd.rpc.render.logs import line
    from hermesd.rpc.render.page import Page

    page = Page(width=columns(), color=use_color())

    def show(update: dict[str, Any]) -> None:  # a JSON object
        text = str(update["line"])
        print(text if context.json else line(page, text), flush=True)

    context.stream("logs.follow", show, lines=args.lines, level=args.level, service=args.service)
    return 0

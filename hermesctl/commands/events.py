"""``hermesctl events [--follow] [--since N]``: state changes with their revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context


def register(parser: argparse.ArgumentParser) -> None:
    """--follow, --since and --limit."""
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new ones until Ctrl-C")
    parser.add_argument("--since", type=int, metavar="REVISION", help="those after this revision")
    parser.add_argument("-n", "--limit", type=int, metavar="N", help="at most this many (50)")


def run(args: argparse.Namespace, context: Context) -> int:
    """Print what is there, or follow."""
    if not args.follow:
        return context.render()
    from hermesctl.output import columns, use_color
    from hermesd.rpc.render.events import line
    from hermesd.rpc.render.page import Page

    page = Page(width=columns(), color=use_color())

    def show(update: dict[str, Any]) -> None:  # a JSON object
        event = update["event"]
        if context.json:
            import json

            print(json.dumps(event, ensure_ascii=False), flush=True)
            return
        print(line(page, **event), flush=True)

    since = args.since
    if since is None:
        since = context.call("events.list", limit=1).get("last_id", 0)
    context.stream("events.watch", show, since=since, profile=context.profile)
    return 0

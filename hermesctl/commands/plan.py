"""``hermesctl plan``: what ``hermesctl apply`` of the same files would change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl import manifest_files
from hermesctl.arguments import Parser
from hermesd.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

EXIT_CHANGES = 2
EXIT_USAGE = 1
STATUS = """\
exit status:
  0   nothing to do: everything is as the files say
  2   there is something to do, because the files or what is there has changed (drift)
  1   a wrong call or another failure; 69 no daemon, 77 not permitted, 78 a file is wrong
"""


def register(parser: argparse.ArgumentParser) -> None:
    """The files."""
    import argparse

    parser.epilog, parser.formatter_class = STATUS, argparse.RawDescriptionHelpFormatter
    if isinstance(parser, Parser):
        parser.usage_status = EXIT_USAGE
    manifest_files.register(parser)
    parser.add_argument("--verbose", action="store_true", help="also name what is managed by no file")
    parser.add_argument("--export", action="store_true", help="print what is there as a file, which plans to nothing")


def run(args: argparse.Namespace, context: Context) -> int:
    """Show the difference, with status 2 when there is one; or what is there."""
    from hermesctl.manifest_diff import render
    from hermesctl.output import use_color

    if args.export:
        return context.show(context.call("routines.export", profile=context.profile))
    try:
        files = manifest_files.read(args.files)
    except UsageError as error:
        error.exit_status = EXIT_USAGE  # 2 means something else here
        raise
    plan = context.call("routines.plan", files=files, profile=context.profile)
    context.show(plan, render(plan, color=use_color(), verbose=args.verbose))
    return EXIT_CHANGES if plan["pending"] else 0

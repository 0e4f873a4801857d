"""``hermesctl apply``: make what is there what the files say, after having shown the difference."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hermesctl import manifest_files
from hermesd.errors import ConflictError, UsageError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

EXIT_FAILED = 1


def register(parser: argparse.ArgumentParser) -> None:
    """The files, and what need not be asked."""
    manifest_files.register(parser)
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    parser.add_argument(
        "--force-conflicts", action="store_true", help="take the file's where somebody has changed the same by hand"
    )
    parser.add_argument("--verbose", action="store_true", help="also name what is managed by no file")


def run(args: argparse.Namespace, context: Context) -> int:
    """Show, ask, apply exactly what was shown."""
    from hermesctl.manifest_diff import render
    from hermesctl.output import confirm, is_interactive, use_color

    files = manifest_files.read(args.files)
    plan = context.call("routines.plan", files=files, profile=context.profile)
    shown = render(plan, color=use_color(), verbose=args.verbose)
    if not context.json:
        print(shown)
    if plan["conflicts"] and not args.force_conflicts:
        raise ConflictError(
            "nothing was changed: what the file changes was also changed by hand",
            next_step="put it right in the file, or take the file's with --force-conflicts",
        )
    if plan["pending"] and not args.yes:
        if not is_interactive():
            raise UsageError("nobody can be asked here; nothing was changed", next_step="give --yes to apply this")
        if not confirm("apply this?", default=False):
            print("nothing was changed")
            return EXIT_FAILED
    result = context.act(
        "routines.apply",
        files=files,
        profile=context.profile,
        revision=plan["revision"],
        force_conflicts=args.force_conflicts,
    )
    for line in result.get("refused", []):
        print(f"hermesctl: {line}", file=sys.stderr)
    if context.json or plan["pending"]:
        context.show(result)
    return EXIT_FAILED if result.get("refused") else 0

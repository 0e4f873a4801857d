"""``hermesctl activate``: make a home what a manifest declares; run by a service before hermesd, without a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context


def register(parser: argparse.ArgumentParser) -> None:
    """The manifest, and whether it is only looked at."""
    parser.add_argument("--manifest", required=True, metavar="FILE", help="the JSON that declares the home")
    parser.add_argument("--dry-run", action="store_true", help="show what would be changed, and change nothing")


def run(args: argparse.Namespace, context: Context) -> int:
    """Do it, or tell what it would be; as the user whose home it is."""
    from hermesctl.activation_report import as_json, as_text, print_notices
    from hermesctl.output import use_color
    from hermesd.activation.manifest import parse
    from hermesd.activation.run import activate
    from hermesd.deploy.container.manifest import MAX_MANIFEST_BYTES
    from hermesd.errors import ConfigError, HermesError

    try:
        with open(args.manifest, "rb") as file:  # noqa: PTH123 - a name as it was given, /dev/stdin too
            data = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=args.manifest, next_step="name a file") from None
    manifest = parse(data, args.manifest, home=str(context.home.root))
    try:
        report = activate(manifest, args.manifest, dry_run=args.dry_run)
    except OSError as error:
        where = str(error.filename or manifest.home)
        raise HermesError(error.strerror or str(error), where=where, next_step="mend it, and run it again") from None
    print_notices(report)
    return context.show(as_json(report, dry_run=args.dry_run), as_text(report, dry_run=args.dry_run, color=use_color()))

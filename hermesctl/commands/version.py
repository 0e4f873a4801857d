"""``hermesctl version``: of this client and, when one runs, of the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl import __version__
from hermesd.errors import UnreachableError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context


def register(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Rendered by the daemon, or without it."""
    context.argv = [*context.argv, "--client", __version__]
    try:
        return context.render()
    except UnreachableError:
        return context.show({"client": __version__}, f"hermesctl {__version__}\nhermesd is not running")

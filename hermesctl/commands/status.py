"""``hermesctl status``: the daemon at a glance, rendered by the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context


def register(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Print it."""
    return context.render()

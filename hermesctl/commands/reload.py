"""``hermesctl reload``: read the configuration again; a refused part leaves what runs as it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

CONFIGURATION_ERROR = 78


def register(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace, context: Context) -> int:
    """Print what was restarted and what was refused; a refusal is status 78."""
    result = context.act("daemon.reload")
    applied, refused = result.get("applied", []), result.get("refused", [])
    context.show(result, "\n".join(f"restarted {name}" for name in applied) or ("" if refused else "nothing changed"))
    for line in refused:
        print(f"hermesctl: {line}", file=sys.stderr)
    return CONFIGURATION_ERROR if refused else 0

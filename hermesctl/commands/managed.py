"""``hermesctl managed show``: who declares what of this home, and what is its user's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesctl.arguments import actions

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {"show": "every key, variable, job and file with its owner, of one profile after -p"}


def register(parser: argparse.ArgumentParser) -> None:
    """The one action."""
    actions(parser, ACTIONS, default="show")


def run(_args: argparse.Namespace, context: Context) -> int:
    """Read the files; no daemon is needed."""
    from hermesctl.ownership import ownership, text_of
    from hermesd.config.managed import manager_of

    manager = manager_of(context.home)
    profiles = [context.home.profile(context.profile)] if context.profile else context.home.profiles()
    found = ownership(manager, profiles)
    return context.show(found, text_of(found))

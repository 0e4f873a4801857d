"""Names that a shell completes: profiles and MCP servers as files have them, skills too without a daemon.

The others are as the daemon has them.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermesctl.context import Context

LISTS = {"jobs": ("cron.list", "jobs"), "watches": ("watch.list", "watches"), "webhooks": ("webhook.list", "routes")}
"""Kind → the method that lists them, and the field of its result."""
KINDS = (*LISTS, "profiles", "skills", "servers")
_METAVARS = {"JOB": "jobs", "WATCH": "watches", "PROFILE": "profiles"}
_NAMES_OF = {"webhook": "webhooks", "profile": "profiles", "skills": "skills", "mcp": "servers"}
_MAKING = frozenset({"subscribe", "create", "add"})
_PLAIN = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.-]*")


def names(kind: str, context: Context) -> list[str]:
    """One of each. What a shell would take apart, or read as more than a name, is given by its id.

    Raises UnreachableError where only the daemon knows.
    """
    if kind == "profiles":
        try:
            return [profile.name for profile in context.home.profiles()]
        except PermissionError:  # a member of the socket's group, who may not look into the home
            return [row["name"] for row in context.call("profile.list")["profiles"]]
    if kind == "skills":
        from hermesctl.commands.skills import listing

        return [row["name"] for row in listing(context)["skills"] if _PLAIN.fullmatch(row["name"])]
    if kind == "servers":
        from hermesd.mcp.configure import configured
        from hermesd.profiles import ProfileStore

        profile = context.home.profile(context.profile or ProfileStore(context.home).current())
        return [name for name in configured(profile) if _PLAIN.fullmatch(name)]
    method, field = LISTS[kind]
    rows = context.call(method, profile=context.profile)[field]
    shown = [row["name"] if _PLAIN.fullmatch(row["name"]) else str(row.get("id", "")) for row in rows]
    return [each for each in shown if each]


def kind_of(verb: str, action: str, parser: argparse.ArgumentParser) -> str:
    """Whose names the first word after a verb or an action is one of; '' for none."""
    first = next((each for each in parser._actions if not each.option_strings and not _is_verb(each)), None)
    if first is None or action in _MAKING:
        return ""
    return _NAMES_OF.get(verb, "") if first.metavar == "NAME" else _METAVARS.get(str(first.metavar), "")


def _is_verb(action: argparse.Action) -> bool:
    return isinstance(action, argparse._SubParsersAction)

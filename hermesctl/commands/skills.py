"""``hermesctl skills``: what agents can be told how to do. A daemon that runs is asked; without one, files are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesctl.arguments import actions
from hermesd.errors import HermesError, UnreachableError

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context

ACTIONS = {
    "list": "every skill: where it is from, and what it is for",
    "show": "one skill with its text, as an agent is given it",
}
USE = """\
A skill is given to an agent by --skills of `hermesctl cron create`, `webhook subscribe` and `watch add`.
One of your own is a file skills/NAME/SKILL.md of the home or of a profile; it stands for a bundled one of its name.
"""
_NO_METHOD = -32601  # JSON-RPC 2.0, section 5.1


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    import argparse

    verbs = actions(parser, ACTIONS, default="list")
    verbs["show"].add_argument("name", metavar="NAME", help="as the list has it")
    for each in (parser, *verbs.values()):
        each.epilog, each.formatter_class = USE, argparse.RawDescriptionHelpFormatter


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action for the profile after ``-p``, or the current one."""
    if args.action == "show":
        shown = _asked(context, "skills.show", name=args.name)
        return context.show(shown, _one(shown["skill"]))
    found = listing(context)
    return context.show(found, _table(found["skills"]))


def listing(context: Context) -> dict[str, Any]:  # JSON
    """The result of ``skills.list``. Raises UsageError, NotFoundError, ConfigError, DeniedError."""
    return _asked(context, "skills.list")


def _asked(context: Context, method: str, **params: str) -> dict[str, Any]:  # JSON
    """Of the daemon, which may read what its caller may not; where none runs, or an older one, of the files."""
    try:
        return context.call(method, profile=context.profile, **params)
    except UnreachableError:
        pass
    except HermesError as error:
        if error.rpc_code != _NO_METHOD:
            raise
    import msgspec

    from hermesd.profiles import ProfileStore
    from hermesd.rpc import skills

    profile = context.home.profile(context.profile or ProfileStore(context.home).current())
    found = skills.one(profile, params["name"]) if params else skills.listing(profile)
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def _table(skills: list[dict[str, Any]]) -> str:
    from hermesctl.output import columns, use_color
    from hermesd.rpc.render.page import Page, Painted
    from hermesd.rpc.render.table import table

    if not skills:
        return "no skills; write one: skills/NAME/SKILL.md of the home"
    page = Page(width=columns(), color=use_color())
    rows = [
        (
            skill["name"],
            skill["origin"],
            Painted(f"cannot be used: {skill['error']}", "red") if "error" in skill else skill["description"],
        )
        for skill in skills
    ]
    return "\n".join(table(page, ("SKILL", "FROM", "DESCRIPTION"), rows))


def _one(skill: dict[str, Any]) -> str:
    from hermesd.rpc.render.terminal import clean, one_line

    head = {"skill": skill["name"], "from": skill["origin"], "file": skill["path"], "is": skill["description"]}
    lines = [f"{label:<7}{one_line(value)}" for label, value in head.items() if value]
    return "\n".join([*lines, "", clean(skill["text"])])

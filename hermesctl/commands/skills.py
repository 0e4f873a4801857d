"""``hermesctl skills``: what agents can be told how to do. Files are read here; no daemon is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesctl.arguments import actions

if TYPE_CHECKING:
    import argparse

    from hermesctl.context import Context
    from hermesd.home import Profile
    from hermesd.skills.library import Skill

ACTIONS = {
    "list": "every skill: where it is from, and what it is for",
    "show": "one skill with its text, as an agent is given it",
}
USE = """\
A skill is given to an agent by --skills of `hermesctl cron create`, `webhook subscribe` and `watch add`.
One of your own is a file skills/NAME/SKILL.md of the home or of a profile; it stands for a bundled one of its name.
"""
_ASTRAY = {
    "what": "HERMES_BUNDLED_SKILLS names no directory, so none are bundled",
    "next_step": "unset it, or have it name a directory of skills",
}


def register(parser: argparse.ArgumentParser) -> None:
    """The actions and their arguments."""
    import argparse

    verbs = actions(parser, ACTIONS, default="list")
    verbs["show"].add_argument("name", metavar="NAME", help="as the list has it")
    for each in (parser, *verbs.values()):
        each.epilog, each.formatter_class = USE, argparse.RawDescriptionHelpFormatter


def run(args: argparse.Namespace, context: Context) -> int:
    """Do the action for the profile after ``-p``, or the current one."""
    from hermesd.skills.library import all_skills, find_skill
    from hermesd.skills.places import is_astray

    profile = profile_of(context)
    if args.action == "show":
        skill = find_skill(args.name, profile)
        return context.show({"skill": _view(skill) | {"text": skill.text}}, _one(skill))
    found = all_skills(profile)
    shown: dict[str, Any] = {"skills": [_view(skill) for skill in found]}
    return context.show(shown | ({"warnings": [_ASTRAY]} if is_astray() else {}), _table(found))


def profile_of(context: Context) -> Profile:
    """The profile that is meant. Raises UsageError, NotFoundError."""
    from hermesd.profiles import ProfileStore

    return context.home.profile(context.profile or ProfileStore(context.home).current())


def _view(skill: Skill) -> dict[str, Any]:  # JSON
    shown = {"name": skill.name, "origin": skill.origin, "path": str(skill.path), "description": skill.description}
    return shown | ({"error": skill.error} if skill.error else {})


def _table(skills: list[Skill]) -> str:
    from hermesctl.output import columns, use_color
    from hermesd.rpc.render.page import Page, Painted
    from hermesd.rpc.render.table import table

    if not skills:
        return "no skills; write one: skills/NAME/SKILL.md of the home"
    page = Page(width=columns(), color=use_color())
    rows = [
        (
            skill.name,
            skill.origin,
            Painted(f"cannot be used: {skill.error}", "red") if skill.error else skill.description,
        )
        for skill in skills
    ]
    return "\n".join(table(page, ("SKILL", "FROM", "DESCRIPTION"), rows))


def _one(skill: Skill) -> str:
    from hermesd.rpc.render.terminal import clean, one_line

    head = {"skill": skill.name, "from": skill.origin, "file": str(skill.path), "is": skill.description}
    lines = [f"{label:<7}{one_line(value)}" for label, value in head.items() if value]
    return "\n".join([*lines, "", clean(skill.text)])

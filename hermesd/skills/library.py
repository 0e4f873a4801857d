"""Skills by name: what one says, and which there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hermesd.errors import ConfigError, HermesError, NotFoundError
from hermesd.skills.places import SKILL_FILE, all_in, in_place, places
from hermesd.skills.text import read_skill
from hermesd.tools.schema import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from hermesd.home import Profile

MAX_NAME = 255


class Skill(NamedTuple):
    """``origin``: profile, home or bundled. One that cannot be used has an ``error``, and neither text nor description.

    ``text`` is what an agent is given: without the front matter.
    """

    name: str
    origin: str
    path: Path
    description: str = ""
    text: str = ""
    error: str = ""


def find_skill(name: str, profile: Profile) -> Skill:
    """A skill of the profile; one of the user's own stands for a bundled one.

    Raises NotFoundError naming the nearest, and ConfigError for one that cannot be used.
    """
    if _is_name(name):
        for place in places(profile):
            path = in_place(place, name)
            if path is not None:
                found = read_skill(path)
                return Skill(name, place.origin, path, found.description, found.body)
    meant = nearest(name, (path.parent.name for place in places(profile) for path in all_in(place)))
    own = places(profile)[0].directory
    step = f"did you mean {meant!r}?" if meant else f"see `hermesctl skills list`, or write {own}/NAME/{SKILL_FILE}"
    raise NotFoundError(f"there is no skill {name[:80]!r}", next_step=step)


def all_skills(profile: Profile) -> list[Skill]:
    """Every skill by its name, once, as ``find_skill`` would take it; those that cannot be used with the reason.

    Raises ConfigError for a directory that cannot be read.
    """
    found: dict[str, Skill] = {}
    for place in places(profile):
        for path in all_in(place):
            if path.parent.name not in found:
                found[path.parent.name] = _listed(path, place.origin)
    return [found[name] for name in sorted(found)]


def _listed(path: Path, origin: str) -> Skill:
    try:
        description, text = read_skill(path)
    except ConfigError as error:
        return Skill(path.parent.name, origin, path, error=error.what)
    return Skill(path.parent.name, origin, path, description, text)


def read_skills(names: Iterable[str], profile: Profile) -> str:
    """The texts of these skills, in their order. Raises as ``find_skill``."""
    return "\n\n".join(_shown(find_skill(name, profile)) for name in names)


def read_usable(names: Iterable[str], profile: Profile) -> tuple[str, list[HermesError]]:
    """The texts of those that can be used, with a note on each of the others; and what is wrong with those."""
    parts: list[str] = []
    errors: list[HermesError] = []
    for name in names:
        try:
            parts.append(_shown(find_skill(name, profile)))
        except (NotFoundError, ConfigError) as error:
            what = error.what if isinstance(error, NotFoundError) else f"the skill {name[:80]!r} cannot be used"
            parts.append(f"Note: {what}.")
            errors.append(error)
    return "\n\n".join(parts), errors


def _shown(skill: Skill) -> str:
    return f"Skill {skill.name!r}:\n{skill.text}"


def _is_name(name: str) -> bool:
    return (
        0 < len(name.encode(errors="replace")) <= MAX_NAME and "/" not in name and "\0" not in name and name[0] != "."
    )

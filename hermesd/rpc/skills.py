"""Skills as the wire shows them: from a profile's files to rows. Blocks on the disk: call it from a thread."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hermesd.rpc.wire_skills import SkillDetail, SkillResult, SkillRow, SkillsResult
from hermesd.rpc.wire_turn_fields import Warned
from hermesd.skills.library import all_skills, find_skill
from hermesd.skills.places import is_astray

if TYPE_CHECKING:
    from hermesd.home import Profile

_ASTRAY = Warned(
    "HERMES_BUNDLED_SKILLS names no directory, so none are bundled", "unset it, or have it name a directory of skills"
)


def listing(profile: Profile) -> SkillsResult:
    """Every skill of the profile. Raises ConfigError for a directory that cannot be read."""
    rows = [
        SkillRow(
            name=_shown(each.name),
            origin=each.origin,
            path=_shown(str(each.path)),
            description=each.description,
            error=each.error,
        )
        for each in all_skills(profile)
    ]
    return SkillsResult(skills=rows, warnings=[_ASTRAY] if is_astray() else [])


def one(profile: Profile, name: str) -> SkillResult:
    """One skill. Raises NotFoundError, and ConfigError for one that cannot be used."""
    found = find_skill(name, profile)
    return SkillResult(
        skill=SkillDetail(
            name=found.name,
            origin=found.origin,
            path=_shown(str(found.path)),
            description=found.description,
            text=found.text,
        )
    )


def _shown(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")

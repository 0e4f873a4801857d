"""The types of ``skills.*``: beside ``rpc.wire``."""

from __future__ import annotations

import msgspec

from hermesd.rpc.wire import Params, Result
from hermesd.rpc.wire_turn_fields import Warned


class SkillParams(Params, kw_only=True):
    """One skill as a profile has it."""

    name: str
    profile: str = ""


class SkillRow(Result, kw_only=True):
    """A skill. ``origin``: profile, home or bundled. ``error``: why it cannot be used; it has no description then."""

    name: str
    origin: str
    path: str
    description: str
    error: str = ""


class SkillDetail(SkillRow, kw_only=True):
    """One skill with its text, as an agent is given it."""

    text: str


class SkillsResult(Result, kw_only=True):
    """Every skill of a profile, by name. ``warnings``: why there may be fewer than there should be."""

    skills: list[SkillRow]
    warnings: list[Warned] = msgspec.field(default_factory=list)


class SkillResult(Result, kw_only=True):
    """One skill."""

    skill: SkillDetail

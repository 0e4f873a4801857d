"""What is said alike of a job and of a watch: the turns that they begin, and the lists they stand in."""

from __future__ import annotations

import msgspec

from hermesd.rpc.wire import Params


class TurnFields(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Of the turns that something begins; None leaves it as it is, or unset. ``timezone`` is that of its schedule."""

    name: str | None = None
    prompt: str | None = None
    timezone: str | None = None
    deliver: str | None = None
    model: str | None = None
    provider: str | None = None
    toolsets: list[str] | None = None
    skills: list[str] | None = None
    workdir: str | None = None
    timeout_s: float | None = None
    max_turns: int | None = None
    budget: int | None = None


class Warned(msgspec.Struct, frozen=True):
    """What could not be done as the settings stand, and what to do about it."""

    what: str
    next_step: str


class ListParams(Params, kw_only=True):
    """Those of a profile; ``all`` means those of every profile."""

    profile: str = ""
    all: bool = False

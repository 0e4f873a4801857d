"""What is checked alike of a job and of a watch when it is made: whose it is, and the turns it begins."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hermesd.errors import UsageError
from hermesd.home import Profile
from hermesd.providers import choice
from hermesd.skills.library import read_skills
from hermesd.tools.registry import check_toolsets
from hermesd.triggers import obstacles
from hermesd.triggers.deliver import homes, parse_deliver

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermesd.config.schema import Config
    from hermesd.rpc.wire_turn_fields import TurnFields, Warned
    from hermesd.store.records import Address
    from hermesd.triggers.turn_spec import TurnSpec

MAX_PROMPT = 32_000
BOUNDS = {"timeout_s": (0, 86400), "max_turns": (0, 1000), "budget": (0, 10**12)}


@dataclass(frozen=True, slots=True)
class Owner:
    """The profile it belongs to: its directory, the zone its schedules are read in, and its settings in force."""

    name: str
    root: Path
    timezone: str
    config: Config
    secrets: Mapping[str, str] = field(repr=False)

    @property
    def profile(self) -> Profile:
        """The profile itself."""
        return Profile(self.name, self.root)

    @property
    def homes(self) -> Mapping[str, str]:
        """Its home channels."""
        return homes(self.config.platforms)


def given(fields: TurnFields, names: Iterable[str], bounds: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    """What is said of these fields, by name. Raises UsageError for a number that is out of its bounds."""
    found: dict[str, Any] = {  # Any: fields of many types, checked by the struct
        name: value for name in names if (value := getattr(fields, name)) is not None
    }
    for name, (low, high) in bounds.items():
        if name in found and not low <= found[name] <= high:
            raise UsageError(
                f"{name.removesuffix('_s')} is {found[name]:.15g}", next_step=f"give {low:.15g} to {high:.15g}"
            )
    return found


def check_turn(owner: Owner, spec: TurnSpec, *, origin: Address | None = None) -> None:
    """Refuse what could not run. ``origin``: the chat it was asked for in.

    Raises UsageError, ConfigError, NotFoundError (a skill).
    """
    if len(spec.prompt) > MAX_PROMPT:
        raise UsageError(f"the prompt has {len(spec.prompt)} characters", next_step=f"{MAX_PROMPT} at most")
    to = parse_deliver(spec.deliver, homes=owner.homes, origin=origin, where="deliver")
    obstacles.check_targets(to, owner.config.platforms, where="deliver")
    choice.check_provider(spec.provider)
    read_skills(spec.skills, owner.profile)
    if spec.toolsets:
        check_toolsets(spec.toolsets)
    if spec.workdir and not os.path.isdir(os.path.expanduser(spec.workdir)):  # noqa: PTH111, PTH112 - Path's raise
        raise UsageError(f"{spec.workdir[:200]!r} is no directory", next_step="make it, or give another --workdir")


def warnings(owner: Owner, spec: TurnSpec, *, origin: Address | None = None) -> list[Warned]:
    """What could not be done now, but may be once settings have changed."""
    to = parse_deliver(spec.deliver, homes=owner.homes, origin=origin, where="deliver")
    found = obstacles.warnings(to, owner.config.platforms, owner.secrets)
    return found + choice.warnings(owner.config, owner.secrets, provider=spec.provider, name=spec.model)

"""What is checked of a webhook's route when it is made: by ``hermesctl webhook`` as by a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import NotFoundError
from hermesd.providers import choice
from hermesd.rpc.wire_turn_fields import Warned
from hermesd.tools.registry import check_toolsets
from hermesd.triggers import obstacles
from hermesd.triggers.compose import read_skills
from hermesd.triggers.deliver import homes
from hermesd.triggers.filters import compile_filters
from hermesd.triggers.webhook_places import Places

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from hermesd.config.schema import Config, WebhookRoute


def check_route(route: WebhookRoute, config: Config, *, root: Path, where: str) -> None:
    """Refuse targets, filters, toolsets and providers that no request could use. Raises ConfigError, UsageError.

    ``root``: the profile's directory. ``where``: what names the route in an error.
    """
    to = Places(route, homes=homes(config.platforms), where=where).fixed
    obstacles.check_targets(to, config.platforms, where=where)
    compile_filters(route.filters, where=where, home=root)
    check_toolsets(route.toolsets)
    choice.check_provider(route.provider)


def warnings(route: WebhookRoute, config: Config, secrets: Mapping[str, str], *, root: Path) -> list[Warned]:
    """What could not be done as the settings and the skills stand."""
    to = Places(route, homes=homes(config.platforms), where="deliver").fixed
    found = obstacles.warnings(to, config.platforms, secrets)
    found += choice.warnings(config, secrets, provider=route.provider, name=route.model)
    try:
        read_skills(route.skills, root / "skills")
    except NotFoundError as error:
        found.append(Warned(f"{error.what} yet", error.next_step))
    return found

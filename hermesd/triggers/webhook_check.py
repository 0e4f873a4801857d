"""What is checked of a webhook's route when it is made: by ``hermesctl webhook`` as by a manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.providers import choice
from hermesd.skills.library import read_skills
from hermesd.tools.registry import check_toolsets
from hermesd.triggers import obstacles
from hermesd.triggers.deliver import homes
from hermesd.triggers.filters import compile_filters
from hermesd.triggers.webhook_places import Places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import Config, WebhookRoute
    from hermesd.home import Profile
    from hermesd.rpc.wire_turn_fields import Warned


def check_route(route: WebhookRoute, config: Config, *, profile: Profile, where: str) -> None:
    """Refuse targets, filters, skills, toolsets and providers that no request could use.

    Raises ConfigError, UsageError, NotFoundError (a skill).

    ``where``: what names the route in an error.
    """
    to = Places(route, homes=homes(config.platforms), where=where).fixed
    obstacles.check_targets(to, config.platforms, where=where)
    compile_filters(route.filters, where=where, home=profile.root)
    read_skills(route.skills, profile)
    check_toolsets(route.toolsets)
    choice.check_provider(route.provider)


def warnings(route: WebhookRoute, config: Config, secrets: Mapping[str, str]) -> list[Warned]:
    """What could not be done as the settings stand."""
    to = Places(route, homes=homes(config.platforms), where="deliver").fixed
    found = obstacles.warnings(to, config.platforms, secrets)
    return found + choice.warnings(config, secrets, provider=route.provider, name=route.model)

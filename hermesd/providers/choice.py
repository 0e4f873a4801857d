"""Another model or provider than the profile's: what it changes, and whether it can work.

Which models a service has, only the service knows, and nobody is asked here: what is known are the first letters of
the names of those that only it serves, and the models that the configuration names.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import UsageError
from hermesd.providers.routes import SERVICES, resolve
from hermesd.rpc.wire_turn_fields import Warned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import Config, ModelConfig

KNOWN = ("auto", "offline", *SERVICES)
_DIGITS = re.compile("[0-9]+")
ALIKE = 0.88
"""Names that differ in more than a letter or two are different names (gpt-5, gpt-5-mini), as are those of versions."""


def chosen(model: ModelConfig, *, provider: str, name: str) -> ModelConfig:
    """The profile's with what is given in place; another provider has an address and a key of its own."""
    if provider:
        model = msgspec.structs.replace(model, provider=provider, base_url="", api_key="")
    return msgspec.structs.replace(model, default=name) if name else model


def check_provider(provider: str) -> None:
    """Raise UsageError for a provider that nobody knows, with the nearest name."""
    if provider and provider.strip().lower() not in KNOWN:
        meant = next(iter(difflib.get_close_matches(provider.strip().lower(), KNOWN, n=1, cutoff=0.5)), "")
        step = f"did you mean {meant!r}?" if meant else f"use one of {', '.join(KNOWN)}"
        raise UsageError(f"there is no provider {provider[:80]!r}", where="provider", next_step=step)


def warnings(config: Config, secrets: Mapping[str, str], *, provider: str, name: str) -> list[Warned]:
    """What may not work of a choice. Raises ConfigError as ``resolve``."""
    if not provider and not name:
        return []
    route = resolve(chosen(config.model, provider=provider, name=name), secrets)
    found = []
    if route.needs_key:
        found.append(Warned(f"there is no key for {route.name} yet", f"put {route.key_name}=… into .env"))
    service = SERVICES.get(route.name)
    wanted = name.strip().lower()
    if wanted and service is not None and service.models and not wanted.startswith(service.models):
        begin = ", ".join(service.models)
        found.append(Warned(f"{route.name} may have no model {name[:80]!r}", f"its models begin with {begin}"))
    elif wanted and (meant := _meant(name, config)):
        found.append(Warned(f"config.yaml names no model {name[:80]!r}", f"did you mean {meant!r}?"))
    return found


def _meant(name: str, config: Config) -> str:
    """A configured model of almost the same name."""
    known = [model.default for model in (config.model, *config.fallback_providers)]
    near = next(iter(difflib.get_close_matches(name, known, n=1, cutoff=ALIKE)), "")
    return "" if name in known or _DIGITS.sub("", near) == _DIGITS.sub("", name) else near

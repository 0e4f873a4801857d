"""Chat platforms, a file each. A new platform is a new file with ``spec(wiring)``, and its section in the schema."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.config.settings import Settings
    from hermesd.gateway.connected import Connected
    from hermesd.gateway.http_front import HttpFront
    from hermesd.store.protocol import Store
    from hermesd.supervision.service import ServiceSpec


ONLY_SENT_TO = frozenset({"smtp", "slack", "discord", "sms", "github"})
"""Sections of ``platforms`` that are outlets (gateway/outlets_*.py): nothing is received from there."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a platform may be made of; ``settings`` gives those in force when it is called."""

    settings: Callable[[], Settings]
    store: Store
    connected: Connected
    http: HttpFront


def enabled(settings: Settings) -> list[str]:
    """The names of the platforms that this configuration switches on, without those that are only sent to."""
    platforms = settings.config.platforms
    names = [field.name for field in msgspec.structs.fields(platforms) if field.name not in ONLY_SENT_TO]
    return [name for name in names if getattr(platforms, name).enabled]


def spec(name: str, wiring: Wiring) -> ServiceSpec:
    """How to make and keep the platform called ``name``."""
    module = importlib.import_module(f"hermesd.gateway.platforms.{name}")
    found: ServiceSpec = module.spec(wiring)
    return found


async def reconfigure(name: str, wiring: Wiring) -> bool:
    """Let a running platform take up new settings without a restart, if it can; False when it must be restarted."""
    module = importlib.import_module(f"hermesd.gateway.platforms.{name}")
    change = getattr(module, "reconfigure", None)
    return bool(await change(wiring)) if change else False

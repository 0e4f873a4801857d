"""Everything that is offered, part by part."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.serving import cron, resources, tools
from hermesd.serving.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

PARTS: list[Callable[[Registry], None]] = [tools.register, cron.register, resources.register]


def offered() -> Registry:
    """A registry with every part."""
    registry = Registry()
    for register in PARTS:
        register(registry)
    return registry

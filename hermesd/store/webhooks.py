"""What a store must do for webhook routes: counts of what became of their requests, which outlive the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from hermesd.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class WebhookCount(Record, frozen=True, kw_only=True):
    """So many requests of a route ended so. ``outcome`` is accepted, duplicate, ignored, or why one was refused."""

    profile: str
    route: str
    outcome: str
    count: int
    last_at: float = 0.0


class WebhookCounts(Protocol):
    """Counts by profile, route and outcome."""

    async def add(self, counts: Sequence[WebhookCount]) -> None:
        """Add to what is there."""

    async def listing(self, profile: str) -> list[WebhookCount]:
        """Every count of a profile's routes."""

    async def keep_only(self, profile: str, routes: Collection[str]) -> None:
        """Forget those of routes that are no more."""

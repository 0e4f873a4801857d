"""What became of each route's requests: counted here, written down behind the requests' backs.

A request never waits for its count, and a flood of refused ones never makes the disk busy: what came together is
written together, once a second at most. A kill loses the counts of that second, never an event.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import StoreError
from hermesd.store.webhooks import WebhookCount

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from hermesd.store.webhooks import WebhookCounts

logger = logging.getLogger(__name__)

PAUSE_S = 1.0
_FLUSH_S = 5.0


class Counters(msgspec.Struct, kw_only=True):
    """Of one route. ``refused`` is by reason, ``last_at`` in epoch seconds."""

    accepted: int = 0
    duplicates: int = 0
    ignored: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    last_at: float = 0.0

    def add(self, outcome: str, count: int, at: float) -> None:
        """Outcomes are few, and none is the sender's to choose."""
        self.last_at = max(self.last_at, at)
        match outcome:
            case "accepted":
                self.accepted += count
            case "duplicate":
                self.duplicates += count
            case "ignored":
                self.ignored += count
            case reason:
                self.refused[reason] = self.refused.get(reason, 0) + count


def from_rows(rows: Iterable[WebhookCount]) -> dict[str, Counters]:
    """Counters by route."""
    found: dict[str, Counters] = {}
    for row in rows:
        found.setdefault(row.route, Counters()).add(row.outcome, row.count, row.last_at)
    return found


class CounterBook:
    """The counters of every route that has been in force; ``keep`` writes down those of one profile."""

    def __init__(self, store: WebhookCounts) -> None:
        self._store = store
        self._profiles: dict[str, dict[str, Counters]] = {}
        self._unwritten: dict[str, dict[tuple[str, str], tuple[int, float]]] = {}  # how often, and when last
        self._changed: dict[str, trio.Event] = {}
        self._read: set[str] = set()

    def of(self, profile: str, route: str) -> Counters:
        """A route's counters as they stand."""
        return self._profiles.setdefault(profile, {}).setdefault(route, Counters())

    def known(self, profile: str) -> dict[str, Counters] | None:
        """Of all its routes; None for a profile whose counters have not been read."""
        return self._profiles.get(profile, {}) if profile in self._read else None

    async def read(self, profile: str, routes: Collection[str]) -> None:
        """Go on from what is written down; those of routes that are no more are forgotten."""
        await self._store.keep_only(profile, routes)
        if profile not in self._read:
            written = await self._store.listing(profile)
            self._profiles[profile] = from_rows([*written, *self._rows(profile)])
            self._read.add(profile)
        for gone in self._profiles[profile].keys() - set(routes):
            del self._profiles[profile][gone]

    def count(self, profile: str, route: str, outcome: str, now: float) -> None:
        """One more."""
        self.of(profile, route).add(outcome, 1, now)
        unwritten = self._unwritten.setdefault(profile, {})
        unwritten[route, outcome] = (unwritten.get((route, outcome), (0, 0.0))[0] + 1, now)
        if (changed := self._changed.get(profile)) is not None:
            changed.set()

    async def keep(self, profile: str) -> None:
        """Write down until cancelled, and once more then."""
        changed = trio.Event()
        try:
            while True:
                self._changed[profile] = changed = trio.Event()
                if not self._unwritten.get(profile):
                    await changed.wait()
                await self._write(profile)
                await trio.sleep(PAUSE_S)
        finally:
            if self._changed.get(profile) is changed:
                del self._changed[profile]
            with trio.move_on_after(_FLUSH_S, shield=True):
                await self._write(profile)

    async def _write(self, profile: str) -> None:
        rows = self._rows(profile)
        self._unwritten.pop(profile, None)
        try:
            if rows:
                await self._store.add(rows)
        except StoreError as error:
            logger.warning("counts of webhooks of %s are lost: %s", profile, error.what)

    def _rows(self, profile: str) -> list[WebhookCount]:
        return [
            WebhookCount(profile=profile, route=route, outcome=outcome, count=count, last_at=at)
            for (route, outcome), (count, at) in self._unwritten.get(profile, {}).items()
        ]

    def forget(self, profile: str) -> None:
        """Have the next ``read`` begin with what is written down."""
        self._read.discard(profile)
        self._profiles.pop(profile, None)

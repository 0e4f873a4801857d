"""``store.webhooks.WebhookCounts`` over the writer and the readers of a ``SqliteStore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.store.sqlite.transaction import to_json
from hermesd.store.webhooks import WebhookCount

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from hermesd.store.sqlite.readers import Readers
    from hermesd.store.sqlite.transaction import Transaction, View
    from hermesd.store.sqlite.writer import Writer

_COLUMNS = "profile, route, outcome, count, last_at"


class SqliteWebhookCounts:
    """See ``store.webhooks.WebhookCounts`` for what each method promises."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._read = readers

    async def add(self, counts: Sequence[WebhookCount]) -> None:
        """Add to what is there."""
        await self._writer.submit(lambda tx: _add(tx, counts))

    async def listing(self, profile: str) -> list[WebhookCount]:
        """Every count of a profile's routes."""
        return await self._read.here(lambda view: _listing(view, profile))

    async def keep_only(self, profile: str, routes: Collection[str]) -> None:
        """Forget those of routes that are no more."""
        kept = set(routes)
        if any(each.route not in kept for each in await self.listing(profile)):
            await self._writer.submit(lambda tx: _keep_only(tx, profile, kept))


def _add(tx: Transaction, counts: Sequence[WebhookCount]) -> None:
    for each in counts:
        tx.run(
            f"INSERT INTO webhook_counters ({_COLUMNS}) VALUES (?, ?, ?, ?, ?) "  # noqa: S608 - constant
            "ON CONFLICT (profile, route, outcome) DO UPDATE SET count = count + excluded.count, "
            "last_at = max(last_at, excluded.last_at)",
            each.profile,
            each.route,
            each.outcome,
            each.count,
            each.last_at,
        )


def _listing(view: View, profile: str) -> list[WebhookCount]:
    rows = view.all(f"SELECT {_COLUMNS} FROM webhook_counters WHERE profile = ?", profile)  # noqa: S608 - constant
    return [WebhookCount(profile=row[0], route=row[1], outcome=row[2], count=row[3], last_at=row[4]) for row in rows]


def _keep_only(tx: Transaction, profile: str, routes: set[str]) -> None:
    tx.run(
        "DELETE FROM webhook_counters WHERE profile = ? AND route NOT IN (SELECT value FROM json_each(?))",
        profile,
        to_json(sorted(routes)),
    )

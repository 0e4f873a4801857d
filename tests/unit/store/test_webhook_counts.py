"""Counts of webhook routes on disk."""

from __future__ import annotations

from hermesd.store.sqlite import SqliteStore
from hermesd.store.webhooks import WebhookCount


def counted(route: str, outcome: str, count: int, at: float = 1.0, profile: str = "default") -> WebhookCount:
    return WebhookCount(profile=profile, route=route, outcome=outcome, count=count, last_at=at)


async def test_counts_add_up_and_the_last_time_stays(store: SqliteStore) -> None:
    """By profile, route and outcome, whatever the order they are written in."""
    await store.webhooks.add([counted("one", "accepted", 2, 5.0), counted("one", "signature", 1)])
    await store.webhooks.add([counted("one", "accepted", 3, 4.0), counted("one", "accepted", 1, 1.0, "coder")])
    assert await store.webhooks.listing("default") == [
        counted("one", "accepted", 5, 5.0),
        counted("one", "signature", 1),
    ]
    assert await store.webhooks.listing("coder") == [counted("one", "accepted", 1, 1.0, "coder")]


async def test_routes_that_are_no_more_are_forgotten(store: SqliteStore) -> None:
    """Those of other profiles stay."""
    rows = [counted(route, "accepted", 1, 1.0, profile) for profile in ("default", "coder") for route in ("a", "b'")]
    await store.webhooks.add(rows)
    await store.webhooks.keep_only("default", ["b'"])
    assert [row.route for row in await store.webhooks.listing("default")] == ["b'"]
    assert len(await store.webhooks.listing("coder")) == 2
    await store.webhooks.keep_only("default", [])
    assert await store.webhooks.listing("default") == []


async def test_counts_move_and_go_with_their_profile(store: SqliteStore) -> None:
    """As everything of a profile does."""
    await store.webhooks.add([counted("one", "accepted", 2)])
    await store.rename_profile("default", "writer")
    assert await store.webhooks.listing("writer") == [counted("one", "accepted", 2, 1.0, "writer")]
    await store.delete_profile("writer")
    assert await store.webhooks.listing("writer") == []

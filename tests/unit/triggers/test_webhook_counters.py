"""Counters of webhook routes: one write for what came together, none lost by a stop, and they go on from the disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from hermesd.errors import StoreError
from hermesd.store.webhooks import WebhookCount
from hermesd.triggers.webhook_counters import PAUSE_S, CounterBook


@dataclass
class Disk:
    """Counts as a store keeps them, and how often it was written to."""

    kept: dict[tuple[str, str, str], int] = field(default_factory=dict)
    writes: int = 0
    full: bool = False

    async def add(self, counts: Sequence[WebhookCount]) -> None:
        await trio.lowlevel.checkpoint()
        if self.full:
            raise StoreError("the disk is full")
        self.writes += 1
        for each in counts:
            key = (each.profile, each.route, each.outcome)
            self.kept[key] = self.kept.get(key, 0) + each.count

    async def listing(self, profile: str) -> list[WebhookCount]:
        await trio.lowlevel.checkpoint()
        return [
            WebhookCount(profile=key[0], route=key[1], outcome=key[2], count=count, last_at=5.0)
            for key, count in self.kept.items()
            if key[0] == profile
        ]

    async def keep_only(self, profile: str, routes: Collection[str]) -> None:
        await trio.lowlevel.checkpoint()
        self.kept = {key: count for key, count in self.kept.items() if key[0] != profile or key[1] in routes}


async def test_a_flood_is_a_write_a_second(autojump_clock: MockClock) -> None:
    """However many requests are refused."""
    disk = Disk()
    book = CounterBook(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.keep, "default")
        for second in range(5):
            for _ in range(1000):
                book.count("default", "one", "signature", float(second))
            await trio.sleep(PAUSE_S)
        nursery.cancel_scope.cancel()
    assert disk.kept == {("default", "one", "signature"): 5000}
    assert disk.writes <= 6
    assert book.of("default", "one").refused == {"signature": 5000}


async def test_without_requests_nothing_wakes_up(autojump_clock: MockClock) -> None:
    """An idle profile costs neither writes nor time."""
    disk = Disk()
    book = CounterBook(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.keep, "default")
        await wait_all_tasks_blocked()
        deadline = trio.lowlevel.current_statistics().seconds_to_next_deadline
        assert deadline == float("inf")
        nursery.cancel_scope.cancel()
    assert disk.writes == 0


async def test_what_was_counted_is_written_when_it_stops_and_read_when_it_starts() -> None:
    """Also what came before anybody kept the book, and what came after."""
    disk = Disk()
    book = CounterBook(disk)
    book.count("default", "one", "accepted", 1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.keep, "default")
        await wait_all_tasks_blocked()
        book.count("default", "one", "accepted", 2.0)
        nursery.cancel_scope.cancel()
    assert disk.kept == {("default", "one", "accepted"): 2}
    book.forget("default")
    assert book.known("default") is None
    book.count("default", "one", "duplicate", 3.0)  # a request that was under way
    again = CounterBook(disk)
    await again.read("default", ["one"])
    assert again.of("default", "one").accepted == 2
    await book.read("default", ["one"])
    assert (book.of("default", "one").accepted, book.of("default", "one").duplicates) == (2, 1)
    assert book.of("default", "one").last_at == 5.0


async def test_a_successor_is_woken_though_its_forerunner_ends_later() -> None:
    """Two of them may overlap when a service is replaced."""
    disk = Disk()
    book = CounterBook(disk)
    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def former() -> None:
            with first:
                await book.keep("default")

        nursery.start_soon(former)
        await wait_all_tasks_blocked()
        nursery.start_soon(book.keep, "default")
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        book.count("default", "one", "accepted", 1.0)
        await wait_all_tasks_blocked()
        assert disk.kept == {("default", "one", "accepted"): 1}
        nursery.cancel_scope.cancel()


async def test_a_full_disk_costs_counts_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """It is said in the log; what comes later is counted again."""
    disk = Disk(full=True)
    book = CounterBook(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(book.keep, "default")
        book.count("default", "one", "accepted", 1.0)
        await wait_all_tasks_blocked()
        disk.full = False
        book.count("default", "one", "accepted", 2.0)
        nursery.cancel_scope.cancel()
    assert "counts of webhooks of default are lost: the disk is full" in caplog.text
    assert disk.kept == {("default", "one", "accepted"): 1}
    assert book.of("default", "one").accepted == 2


async def test_routes_that_are_gone_are_forgotten() -> None:
    """One that is made again later begins at nothing."""
    disk = Disk()
    book = CounterBook(disk)
    for route in ("one", "two"):
        book.count("default", route, "ignored", 1.0)
    await book.read("default", ["two"])
    assert book.known("default") is not None
    assert set(book.known("default") or ()) == {"two"}

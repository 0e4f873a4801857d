"""What a store must do for watches: as ``store.protocol``, every change is one durable transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import NewEvent, RunRow, WatchRow

Changes = dict[str, str | None]
"""Thing → what is seen of it now; None: it is gone."""


class WatchStore(Protocol):
    """Watches, what each has last seen, and the events that came of differences."""

    async def put(self, watch: WatchRow) -> WatchRow:
        """Insert a watch or replace the one with its id; raises ConflictError for a name another watch has."""

    async def delete(self, watch_id: str) -> WatchRow:
        """Remove a watch, its runs stay; raises NotFoundError."""

    async def get(self, watch_id: str) -> WatchRow:
        """One watch; raises NotFoundError."""

    async def listing(self, *, profile: str | None = None) -> list[WatchRow]:
        """In the order they were made."""

    async def has_any(self) -> bool:
        """Whether there is a watch."""

    async def seen(self, watch_id: str) -> dict[str, str]:
        """What the watch has last seen."""

    async def take_as_seen(self, watch_id: str, changes: Mapping[str, str | None], *, settled: bool = False) -> None:
        """Differences that begin nothing; the watch is primed. ``settled``: what its last event began is over."""

    async def fire(self, watch_id: str, changes: Mapping[str, str | None], event: NewEvent) -> RunRow | None:
        """Take up a difference: what is seen now, the run and its event together, so that it counts once.

        None when the watch is gone or paused meanwhile, or when its last event is not settled.
        """

    async def act_always(self, watch_id: str) -> None:
        """Its owner need not be asked any more; a watch that is gone is no error."""

    async def note(self, watch_id: str, error: str) -> None:
        """Why it cannot be watched at the moment, '' when it can; a watch that is gone is no error."""

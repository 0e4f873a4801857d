"""``store.watches.WatchStore`` over the writer and the readers of a ``SqliteStore``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.store.sqlite import watches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.records import NewEvent, RunRow, WatchRow
    from hermesd.store.sqlite.readers import Readers
    from hermesd.store.sqlite.writer import Writer


class SqliteWatches:
    """See ``store.watches.WatchStore`` for what each method promises."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._read = readers

    async def put(self, watch: WatchRow) -> WatchRow:
        """Insert or replace by id; raises ConflictError."""
        return await self._writer.submit(lambda tx: watches.put(tx, watch))

    async def delete(self, watch_id: str) -> WatchRow:
        """Remove it; raises NotFoundError."""
        return await self._writer.submit(lambda tx: watches.delete(tx, watch_id))

    async def get(self, watch_id: str) -> WatchRow:
        """One watch; raises NotFoundError."""
        return await self._read.here(lambda view: watches.get(view, watch_id))

    async def listing(self, *, profile: str | None = None) -> list[WatchRow]:
        """In the order they were made."""
        return await self._read.in_thread(lambda view: watches.listing(view, profile))

    async def has_any(self) -> bool:
        """Whether there is a watch."""
        return await self._read.here(watches.has_any)

    async def seen(self, watch_id: str) -> dict[str, str]:
        """What it has last seen."""
        return await self._read.in_thread(lambda view: watches.seen(view, watch_id))

    async def take_as_seen(self, watch_id: str, changes: Mapping[str, str | None], *, settled: bool = False) -> None:
        """Differences that begin nothing."""
        await self._writer.submit(lambda tx: watches.take_as_seen(tx, watch_id, changes, settled=settled))

    async def fire(self, watch_id: str, changes: Mapping[str, str | None], event: NewEvent) -> RunRow | None:
        """Take up a difference."""
        return await self._writer.submit(lambda tx: watches.fire(tx, watch_id, changes, event))

    async def act_always(self, watch_id: str) -> None:
        """Ask no more."""
        await self._writer.submit(lambda tx: watches.act_always(tx, watch_id))

    async def note(self, watch_id: str, error: str) -> None:
        """Why it cannot be watched."""
        await self._writer.submit(lambda tx: watches.note(tx, watch_id, error))

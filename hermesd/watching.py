"""Watches of all profiles: the service that notices changes, and what RPC methods may ask of it.

The service is in the tree while there is a watch; a daemon without any has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.supervision.service import ServiceSpec

if TYPE_CHECKING:
    from hermesd.routines import Routines
    from hermesd.rpc.wire_watch import WatchFields, WatchTestResult
    from hermesd.store.protocol import Store
    from hermesd.store.records import WatchRow
    from hermesd.supervision.supervisor import Supervisor
    from hermesd.triggers.watch_desk import WatchDesk
    from hermesd.triggers.watchers import Watchers

NAME = "watchers"
GROUP = 3
"""Stops before the profiles do: nothing new is taken up while they drain."""


class Watching:
    """See ``rpc.context.Watching``. The modules behind it are imported with the first watch."""

    def __init__(self, store: Store, root: Supervisor, routines: Routines) -> None:
        self._store = store
        self._root = root
        self._routines = routines
        self._watchers: Watchers | None = None
        self._lock = trio.Lock()

    async def boot(self) -> None:
        """Start the service if there is anything for it."""
        if await self._store.watches.has_any():
            await self._ensure()

    async def _ensure(self) -> Watchers:
        async with self._lock:
            if self._watchers is None:
                from hermesd.triggers.watchers import Watchers

                watchers = self._watchers = Watchers(self._store, self._routines.surroundings)
                await self._root.add(
                    ServiceSpec(NAME, lambda: watchers, group=GROUP, detail=lambda: _detail(watchers)), wait=True
                )
            return self._watchers

    @property
    def desk(self) -> WatchDesk:
        """Where watches are made and found."""
        from hermesd.triggers.watch_desk import WatchDesk

        return WatchDesk(self._store)

    async def add(self, profile: str, fields: WatchFields, *, paused: bool) -> WatchRow:
        """Make a watch and have it work."""
        from hermesd.triggers.watch_desk import read_fields

        owner = self._routines.owner(profile)
        spec = read_fields(owner, fields)
        watchers = await self._ensure()
        await watchers.try_out(owner.name, spec)
        watch = await self.desk.add(owner, fields, paused=paused)
        await watchers.refresh(watch.id)
        return await self._store.watches.get(watch.id)

    async def switch(self, watch: WatchRow, *, paused: bool) -> WatchRow:
        """Pause or resume it."""
        watchers = await self._ensure()
        await self.desk.switch(watch, paused=paused)
        await watchers.refresh(watch.id)
        return await self._store.watches.get(watch.id)

    async def remove(self, watch: WatchRow) -> None:
        """End and remove it."""
        await self._store.watches.delete(watch.id)
        if self._watchers is not None:
            await self._watchers.refresh(watch.id)

    async def refresh(self, watch_id: str) -> None:
        """A row was made, changed or removed in the store: have it as it stands now."""
        await (await self._ensure()).refresh(watch_id)

    async def test(self, watch: WatchRow) -> WatchTestResult:
        """Look, and begin nothing."""
        watchers = await self._ensure()
        return await watchers.test(watch)


def _detail(watchers: Watchers) -> str:
    return f"{watchers.count} watch{'' if watchers.count == 1 else 'es'}"

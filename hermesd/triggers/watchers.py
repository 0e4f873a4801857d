"""The service ``watchers``: every active watch of every profile, and the inotify instance they share."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from hermesd.errors import ConflictError, HermesError, NotFoundError
from hermesd.rpc.wire_watch import WatchTestResult
from hermesd.store.records import WatchRow
from hermesd.triggers import watch as watches
from hermesd.triggers import watch_compose
from hermesd.triggers.watch_at_work import WatchAtWork, leaves
from hermesd.triggers.watch_command import CommandSource
from hermesd.triggers.watch_directories import Directories
from hermesd.triggers.watch_files import FileSource, home_of
from hermesd.triggers.watch_pattern import parse_pattern
from hermesd.turns.persist import persist

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.store.protocol import Store
    from hermesd.store.records import EventRow
    from hermesd.triggers.runner import Surroundings
    from hermesd.triggers.watch import Source, WatchSpec

log = logging.getLogger(__name__)

OVER = frozenset({"turn.finished", "turn.parked", "inbox.resolved"})
MOVED = frozenset({"profile.deleted", "profile.renamed"})


class Watchers:
    """``surroundings`` raises NotFoundError for a profile that is gone."""

    def __init__(self, store: Store, surroundings: Callable[[str], Surroundings]) -> None:
        self._store = store
        self._surroundings = surroundings
        self._at_work: dict[str, WatchAtWork] = {}
        self._nursery: trio.Nursery | None = None
        self._directories: Directories | None = None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled. Raises ConfigError when the kernel gives no inotify instance."""
        self._directories = Directories()
        unsubscribe = self._store.subscribe(self._on_events)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._directories.run)
                for watch in await persist(self._store.watches.listing):
                    await self._start(watch)
                task_status.started()
        finally:
            self._nursery = None
            self._at_work.clear()
            unsubscribe()
            self._directories.close()
            self._directories = None

    @property
    def count(self) -> int:
        """Watches at work."""
        return len(self._at_work)

    async def refresh(self, watch_id: str) -> None:
        """A watch was made, changed or removed: have it as it stands now. Returns once it watches, or cannot."""
        if (former := self._at_work.get(watch_id)) is not None:
            former.scope.cancel()
            await former.over.wait()
        try:
            watch = await persist(lambda: self._store.watches.get(watch_id))
        except NotFoundError:
            return
        if (at_work := await self._start(watch)) is not None:
            await at_work.armed()

    def source(self, watch: WatchRow, spec: WatchSpec) -> Source:
        """What the watch looks at. Raises UsageError, ConfigError."""
        match spec.kind:
            case "file":
                if self._directories is None:
                    raise ConflictError("the service watchers does not run", next_step="see `hermesctl tree`")
                home = home_of(self._surroundings(watch.profile).profile)
                return FileSource([parse_pattern(text) for text in spec.files], self._directories, home=home)
            case "command":
                assert spec.schedule is not None
                return CommandSource(
                    spec.command, spec.schedule, lambda: self._surroundings(watch.profile), tag=watch.id
                )
            case "unit":
                from hermesd.triggers.watch_unit import UnitSource

                return UnitSource(spec.unit, spec.bus)

    async def try_out(self, profile: str, spec: WatchSpec) -> None:
        """Look once at what a watch would look at. Raises HermesError for what cannot be.

        A command is not run for that: the first look of the watch will say how it fares.
        """
        if spec.kind != "command":
            await self._look(WatchRow(id="", profile=profile, name="", spec=""), spec)

    async def test(self, watch: WatchRow) -> WatchTestResult:
        """What a watch sees now, and what it would tell the agent of that. Raises HermesError, OSError."""
        spec = watches.decode(watch.spec)
        now = await self._look(watch, spec)
        seen = await persist(lambda: self._store.watches.seen(watch.id))
        changes = watches.difference(seen, now)
        example = changes or dict(list(now.items())[:1])
        prompt = watch_compose.text_of(spec, example, seen) if example else ""
        return WatchTestResult(sees=_sees(spec, len(now), len(changes)), prompt=prompt)

    async def _look(self, watch: WatchRow, spec: WatchSpec) -> dict[str, str]:
        source = self.source(watch, spec)
        found: dict[str, str] = {}
        failures: list[BaseException] = []
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(source.run, lambda: None)
                found = await source.look()
                nursery.cancel_scope.cancel()
        except* (HermesError, OSError) as group:
            failures = leaves(group)
        for error in failures:
            raise error
        return found

    async def _start(self, watch: WatchRow) -> WatchAtWork | None:
        if self._nursery is None or watch.state != "active" or watch.id in self._at_work:
            return None
        at_work = WatchAtWork(
            watch,
            self._store,
            source=self.source,
            homes=lambda profile: self._surroundings(profile).homes,
            profile_of=lambda profile: self._surroundings(profile).profile,
        )
        self._at_work[watch.id] = at_work
        await self._nursery.start(self._work, at_work)
        return at_work

    async def _work(self, at_work: WatchAtWork, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            await at_work.run(task_status=task_status)
        finally:
            if self._at_work.get(at_work.id) is at_work:
                del self._at_work[at_work.id]

    def _on_events(self, events: list[EventRow]) -> None:
        for event in events:
            if event.kind in OVER:
                inbox_id = event.data.get("inbox_id") or event.data.get("id")
                for at_work in self._at_work.values():
                    if at_work.open_inbox == inbox_id:
                        at_work.changed()
            elif event.kind in MOVED:
                for at_work in self._at_work.values():
                    at_work.changed()  # it finds its row moved, or gone


def _sees(spec: WatchSpec, things: int, differences: int) -> str:
    if spec.kind == "file":
        return f"it sees {things} file{'' if things == 1 else 's'}, {differences} not taken up yet"
    return "it sees a difference that is not taken up yet" if differences else "it sees nothing new"

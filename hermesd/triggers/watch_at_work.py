"""One watch at work: it is told that there may be a difference, waits until things rest, looks, and takes it up.

    changed? ──► rest (debounce) ──► is what its last event began over? ──no──► wait for that
                                         │yes
                                         ├─ what that turn did itself is taken as seen (``while_running``)
                                         └─ look ──► differences ──► one commit: seen, run, event

What is seen, and the event, are committed together, so a difference counts once, whatever kills the daemon; what
changed while it was away is found by the look that every start begins with.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import HermesError, NotFoundError
from hermesd.skills.library import read_usable
from hermesd.store.records import Address
from hermesd.triggers import watch as watches
from hermesd.triggers import watch_compose
from hermesd.triggers.deliver import parse_deliver
from hermesd.turns.persist import persist

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermesd.home import Profile
    from hermesd.store.protocol import Store
    from hermesd.store.records import TurnRow, WatchRow
    from hermesd.store.watches import Changes
    from hermesd.triggers.watch import Source, WatchSpec

log = logging.getLogger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 600.0
_FILE_THREADS = trio.CapacityLimiter(2)
ENDED = frozenset({"done", "failed", "dropped", "parked"})


class WatchAtWork:
    """``source`` makes what is looked at anew for each attempt.

    ``homes`` and ``profile_of`` give the home channels and the directory of a profile by its name.
    """

    def __init__(
        self,
        watch: WatchRow,
        store: Store,
        *,
        source: Callable[[WatchRow, WatchSpec], Source],
        homes: Callable[[str], Mapping[str, str]],
        profile_of: Callable[[str], Profile],
    ) -> None:
        self.id = watch.id
        self.profile = watch.profile
        self.open_inbox = watch.open_inbox
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        """Set when the watch has ended."""
        self._store = store
        self._source = source
        self._homes = homes
        self._profile_of = profile_of
        self._seen: dict[str, str] = {}
        self._dirty = trio.Event()
        self._last = 0.0
        self._armed = trio.Event()
        self._retry_s = FIRST_RETRY_S

    def changed(self) -> None:
        """There may be a difference."""
        self._last = trio.current_time()
        self._dirty.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until cancelled by its scope, or removed. Started once it watches, or cannot for the moment."""
        try:
            with self.scope:
                task_status.started()
                while await self._attempt():
                    await trio.sleep(self._retry_s)
                    self._retry_s = min(self._retry_s * 2, LONGEST_RETRY_S)
        finally:
            self.over.set()
            self._armed.set()

    async def armed(self) -> None:
        """Until it watches, or has said why it cannot."""
        await self._armed.wait()

    async def _attempt(self) -> bool:
        """Watch; False when there is nothing to watch any more, True when it cannot be done for the moment."""
        try:
            watch = await persist(lambda: self._store.watches.get(self.id))
        except NotFoundError:
            return False
        failures: list[BaseException] = []
        try:
            await self._watch(watch, watches.decode(watch.spec))
        except* (HermesError, OSError, msgspec.ValidationError) as group:
            failures += leaves(group)
        await self._note(failures[0])
        self._armed.set()
        return True

    async def _note(self, error: BaseException) -> None:
        text = f"{error.what}. {error.next_step}".rstrip(". ") if isinstance(error, HermesError) else str(error)
        log.warning("watch %s: %s", self.id, text)
        await persist(lambda: self._store.watches.note(self.id, text[:500]))

    async def _watch(self, watch: WatchRow, spec: WatchSpec) -> None:
        source = self._source(watch, spec)
        async with trio.open_nursery() as nursery:
            await nursery.start(source.run, self.changed)
            self._seen = await persist(lambda: self._store.watches.seen(self.id))
            while True:
                self._dirty = trio.Event()
                await self._consider(source)
                self._armed.set()
                self._retry_s = FIRST_RETRY_S
                await self._dirty.wait()
                await self._rest(spec)

    async def _rest(self, spec: WatchSpec) -> None:
        """Until nothing has changed for a while; what never rests is not waited for for ever."""
        latest = trio.current_time() + watches.LONGEST_WAIT * spec.debounce_s
        while (until := min(self._last + spec.debounce_s, latest)) > trio.current_time():  # noqa: ASYNC110 - a deadline that moves
            await trio.sleep_until(until)

    async def _consider(self, source: Source) -> None:
        watch = await persist(lambda: self._store.watches.get(self.id))
        spec = watches.decode(watch.spec)
        self.open_inbox = watch.open_inbox
        if watch.open_inbox and not await self._ended(watch.open_inbox):
            return  # its end is a reason to look again
        try:
            if watch.open_inbox:
                await self._settle(watch, spec, source)
            changes = watches.difference(self._seen, await source.look())
        except watches.NotThisTimeError as error:
            await self._note(error)
            return
        if not watch.primed or (changes and not _counts(spec, changes)):
            await self._take_as_seen(changes)
        elif changes:
            await self._fire(spec, changes)
        elif watch.error:
            await persist(lambda: self._store.watches.note(self.id, ""))

    async def _fire(self, spec: WatchSpec, changes: Changes) -> None:
        watch = await persist(lambda: self._store.watches.get(self.id))
        to, skills = self._places(watch, spec), await self._skills(watch, spec)
        event = watch_compose.event_of(watch, spec, changes, self._seen, to, skills=skills)
        run = await persist(lambda: self._store.watches.fire(self.id, changes, event))
        if run is not None:
            self.open_inbox = run.inbox_id
            self._remember(changes)

    async def _skills(self, watch: WatchRow, spec: WatchSpec) -> str:
        """Their texts. One that is gone does not cost the event: it is said, to the agent as well."""
        if not spec.skills:
            return ""
        profile = self._profile_of(watch.profile)
        text, errors = await trio.to_thread.run_sync(read_usable, spec.skills, profile, limiter=_FILE_THREADS)
        for error in errors:
            log.warning("watch %s goes without a skill: %s", watch.id, error)
        return text

    def _places(self, watch: WatchRow, spec: WatchSpec) -> list[Address]:
        try:
            return parse_deliver(spec.deliver, homes=self._homes(watch.profile), where=f"watch {watch.name}")
        except HermesError as error:
            log.warning("watch %s: %s; delivered to local", watch.id, error.what)
            return [Address(platform="local")]

    # -- after what an event began -------------------------------------------------------------------------------------

    async def _ended(self, inbox_id: int) -> bool:
        try:
            return (await persist(lambda: self._store.inbox_row(inbox_id))).state in ENDED
        except NotFoundError:
            return True

    async def _settle(self, watch: WatchRow, spec: WatchSpec, source: Source) -> None:
        """Its turn is over: what that did itself must not begin the next one."""
        own: Changes = {}
        turn = await persist(lambda: self._store.turn_of(watch.open_inbox))
        if spec.while_running == "ignore" and turn is not None and (since := await self._acted_since(turn)):
            changes = watches.difference(self._seen, await source.look())
            own = await source.own(changes, since, turn.ended_at or time.time())
        await self._take_as_seen(own, settled=True)
        self.open_inbox = 0

    async def _acted_since(self, turn: TurnRow) -> float:
        """When the first answer with calls was journalled, which is before any of them ran; 0 when there was none."""
        steps = await persist(lambda: self._store.steps(turn.id))
        return min((step.at for step in steps), default=0.0) if any(step.kind == "tool" for step in steps) else 0.0

    async def _take_as_seen(self, changes: Changes, *, settled: bool = False) -> None:
        await persist(lambda: self._store.watches.take_as_seen(self.id, changes, settled=settled))
        self._remember(changes)

    def _remember(self, changes: Changes) -> None:
        for thing, value in changes.items():
            if value is None:
                self._seen.pop(thing, None)
            else:
                self._seen[thing] = value


def _counts(spec: WatchSpec, changes: Changes) -> bool:
    """Whether a difference is one that its owner wants to know of."""
    return not spec.states or changes.get(watches.ONLY) in spec.states


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors themselves."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found

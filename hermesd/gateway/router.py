"""From the inbox to turns: one at a time in a session, bounded over all, commands past the queue.

accepted ──► command? ──yes──► done at once (also while a turn runs)
               │no
               ├─ answer to an open question ──► wakes the turn that asked
               └─ queue of its session ──► turn; a running one is interrupted or waited for (agent.busy)
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import ConflictError, NotFoundError
from hermesd.gateway import slash
from hermesd.store.records import EventRow, InboxRow
from hermesd.turns.engine import Outcome, TurnControl, run_turn
from hermesd.turns.scope import persist

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.store.protocol import Store
    from hermesd.turns.scope import Workbench

log = logging.getLogger(__name__)


@dataclass(slots=True)
class SessionLane:
    """The messages of one conversation, in order, and the turn under way."""

    queue: deque[InboxRow] = field(default_factory=deque)
    control: TurnControl | None = None
    session_id: str = ""
    wake: trio.Event = field(default_factory=trio.Event)


class Router:
    """The service ``turns`` of a profile. ``limiter`` is shared by all profiles."""

    def __init__(
        self, profile: str, *, store: Store, bench: Callable[[], Workbench], limiter: trio.CapacityLimiter
    ) -> None:
        self._profile = profile
        self._store = store
        self._bench = bench
        self._limiter = limiter
        self._lanes: dict[str, SessionLane] = {}
        self._arrived: deque[int] = deque()
        self._arrival = trio.Event()
        self._draining = False
        self._idle = trio.Event()
        self._seen: set[int] = set()

    # -- service -----------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Take up what waits in the store, then what arrives."""
        unsubscribe = self._store.subscribe(self._on_events)
        try:
            async with trio.open_nursery() as nursery:
                for row in await self._store.waiting(self._profile):
                    self._seen.add(row.id)
                    await self._take(msgspec.structs.replace(row, not_before=0.0), nursery)
                task_status.started()
                await self._receive(nursery)
        finally:
            unsubscribe()

    async def drain(self) -> None:
        """Begin no further turn and wait for those under way; the supervisor bounds this."""
        self._draining = True
        self._arrival.set()
        try:
            while any(lane.control for lane in self._lanes.values()):
                self._idle = trio.Event()
                await self._idle.wait()
        except trio.Cancelled:
            self.suspend_all()
            raise

    def suspend_all(self) -> None:
        """The drain deadline has passed: put running turns back so that the next start takes them up."""
        for lane in self._lanes.values():
            if lane.control:
                lane.control.stop("shutdown")

    @property
    def running(self) -> int:
        """Turns under way."""
        return sum(lane.control is not None for lane in self._lanes.values())

    def retry_now(self) -> None:
        """Something changed for the better (another model, say): deferred messages are tried at once."""
        for lane in self._lanes.values():
            lane.wake.set()

    def interrupt(self, session_id: str) -> bool:
        """Cancel the session's running turn on behalf of its user; False when there is none."""
        for lane in self._lanes.values():
            if lane.control and lane.session_id == session_id:
                lane.control.stop("user")
                return True
        return False

    # -- arrivals ----------------------------------------------------------------------------------------------------

    def _on_events(self, events: list[EventRow]) -> None:
        for event in events:
            if event.profile == self._profile and event.kind in ("inbox.accepted", "inbox.resolved"):
                self._arrived.append(int(str(event.data["id"])))
                self._arrival.set()

    async def _receive(self, nursery: trio.Nursery) -> None:
        while not self._draining:
            while self._arrived:
                row = await self._store.inbox_row(self._arrived.popleft())
                if row.state == "pending" and not self._is_queued(row):
                    await self._take(row, nursery)
            if not self._arrived and not self._draining:
                self._arrival = trio.Event()
                if not self._arrived:
                    await self._arrival.wait()
        await trio.sleep_forever()

    def _is_queued(self, row: InboxRow) -> bool:
        lane = self._lanes.get(row.session_key)
        return lane is not None and any(queued.id == row.id for queued in lane.queue)

    async def _take(self, row: InboxRow, nursery: trio.Nursery) -> None:
        if "command" in row.meta:
            nursery.start_soon(self._command, row)
        elif not await self._answers_question(row):
            self._enqueue(row, nursery)

    def _enqueue(self, row: InboxRow, nursery: trio.Nursery) -> None:
        lane = self._lanes.get(row.session_key)
        if lane is None:
            lane = self._lanes[row.session_key] = SessionLane()
            nursery.start_soon(self._work, row.session_key, lane)
        elif lane.control and self._bench().settings.config.agent.busy == "interrupt":
            lane.control.stop("redirect")
        lane.queue.append(row)
        lane.wake.set()

    async def _answers_question(self, row: InboxRow) -> bool:
        """A plain message in a session whose turn waits for its user is the answer."""
        lane = self._lanes.get(row.session_key)
        if lane is None or lane.control is None or row.untrusted:
            return False
        waiting = await self._store.open_questions(session_id=lane.session_id)
        if not waiting:
            return False
        try:
            await self._bench().questions.answer(waiting[0].id, row.text)
        except (ConflictError, NotFoundError):
            return False
        begun = await self._store.begin_turn(row.id, session_id=lane.session_id)
        await persist(lambda: self._store.finish_turn(begun.turn.id, state="done", inbox_state="done"))
        return True

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def _work(self, key: str, lane: SessionLane) -> None:
        while lane.queue and not self._draining:
            row = lane.queue[0]
            await self._wait_until_due(row, lane)
            async with self._limiter:
                outcome = await self._turn(row, lane)
            if outcome.state == "deferred":
                lane.queue[0] = msgspec.structs.replace(row, not_before=outcome.not_before)
            elif outcome.state != "suspended":
                lane.queue.popleft()
        if self._lanes.get(key) is lane:
            del self._lanes[key]

    async def _wait_until_due(self, row: InboxRow, lane: SessionLane) -> None:
        """A deferred message waits for its instant; a new message of the session is a reason to try at once."""
        delay = row.not_before - time.time()
        if delay > 0:
            lane.wake = trio.Event()
            with trio.move_on_after(delay):
                await lane.wake.wait()

    async def _turn(self, row: InboxRow, lane: SessionLane) -> Outcome:
        if self._draining:
            return Outcome("suspended")
        session = await self._session_of(row)
        lane.session_id = session
        lane.control = TurnControl(trio.CancelScope())
        try:
            begun = await persist(lambda: self._store.begin_turn(row.id, session_id=session))
            return await run_turn(self._bench(), begun, lane.control)
        except (ConflictError, NotFoundError) as error:
            log.info("inbox %d is not to be answered any more: %s", row.id, error.what)
            return Outcome("cancelled")
        finally:
            lane.control = None
            self._idle.set()

    async def _session_of(self, row: InboxRow) -> str:
        """The session an event names (``meta.session``), or the one its key is bound to."""
        if named := row.meta.get("session"):
            return named
        found = await persist(lambda: self._store.open_session(row.profile, row.session_key, source=row.source))
        return found.id

    # -- commands ----------------------------------------------------------------------------------------------------

    async def _command(self, row: InboxRow) -> None:
        """Run a slash command: its effect, then its reply and acknowledgement in one commit."""
        session = await self._session_of(row)
        lane = self._lanes.get(row.session_key)
        stopped = False
        if lane and lane.control and row.meta["command"] in slash.STOPPING:
            lane.control.stop("user")
            stopped = True
        desk = slash.Desk(
            store=self._store,
            bench=self._bench(),
            row=row,
            session_id=session,
            stopped=stopped,
            queued=len(lane.queue) if lane else 0,
            running=self.running,
        )
        try:
            begun = await self._store.begin_turn(row.id, session_id=session)
        except (ConflictError, NotFoundError):
            return
        await slash.carry_out(desk, begun.turn)

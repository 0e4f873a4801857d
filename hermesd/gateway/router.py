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
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.errors import ConfigError, ConflictError, NotFoundError
from hermesd.gateway import slash
from hermesd.gateway.lane import SessionLane
from hermesd.turns.engine import Outcome, TurnControl, run_turn
from hermesd.turns.outgoing import outbox_rows
from hermesd.turns.persist import persist
from hermesd.turns.scope import is_attended
from hermesd.turns.slots import Slot
from hermesd.turns.suggestion import asked_here

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.gateway.overrides import Overrides
    from hermesd.providers.base import Provider
    from hermesd.store.protocol import Store
    from hermesd.store.records import EventRow, InboxRow, QuestionRow
    from hermesd.turns.scope import Workbench

log = logging.getLogger(__name__)


class Router:
    """The service ``turns`` of a profile.

    ``bench`` gives the workbench in force when a turn begins, which ``overrides`` changes as its event wants;
    ``limiter`` is shared by all profiles; ``turn_ended`` is awaited after each turn, ``ready`` before it begins.
    """

    def __init__(
        self,
        profile: str,
        *,
        store: Store,
        bench: Callable[[], Workbench],
        limiter: trio.CapacityLimiter,
        turn_ended: Callable[[], Awaitable[None]] | None = None,
        overrides: Overrides | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._profile = profile
        self._store = store
        self._bench = bench
        self._limiter = limiter
        self._turn_ended = turn_ended
        self._overrides = overrides
        self._ready = ready
        self._lanes: dict[str, SessionLane] = {}
        self._taken: set[int] = set()  # rows in a lane's queue, and commands being carried out
        self._commands = 0
        self._arrived: deque[int] = deque()
        self._arrival = trio.Event()
        self._draining = False
        self._idle = trio.Event()

    # -- service -----------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what waits in the store, then what arrives."""
        unsubscribe = self._store.subscribe(self._on_events, profile=self._profile)
        try:
            async with trio.open_nursery() as nursery:
                for row in await self._store.waiting(self._profile):
                    await self._take(msgspec.structs.replace(row, not_before=0.0), nursery)
                task_status.started()
                await self._receive(nursery)
        finally:
            unsubscribe()

    async def drain(self) -> None:
        """Begin no further turn and wait for those under way; the supervisor bounds this.

        A turn that waits for a person, or comes to ask one meanwhile, is put back at once: its question stays open
        over the restart.
        """
        self._draining = True
        self._arrival.set()
        for lane in self._lanes.values():
            if lane.control and self._bench().questions.is_waiting(lane.turn_id):
                lane.control.stop("shutdown")
        try:
            while self._commands or self.running:
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

    def uses(self, provider: Provider) -> bool:
        """Whether a turn under way began with this provider."""
        return any(lane.provider is provider for lane in self._lanes.values())

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
            if event.kind in ("inbox.accepted", "inbox.resolved"):
                self._arrived.append(int(str(event.data["id"])))
                self._arrival.set()
            elif event.kind == "question.asked" and self._draining:
                for lane in self._lanes.values():
                    if lane.control and lane.turn_id == event.data["turn_id"]:
                        lane.control.stop("shutdown")

    async def _receive(self, nursery: trio.Nursery) -> None:
        while not self._draining:
            self._arrival = trio.Event()
            while self._arrived and not self._draining:
                await self._arrive(self._arrived.popleft(), nursery)
            if not self._draining:
                await self._arrival.wait()
        await trio.sleep_forever()  # turns under way are children of this task's nursery

    async def _arrive(self, inbox_id: int, nursery: trio.Nursery) -> None:
        try:
            row = await persist(lambda: self._store.inbox_row(inbox_id))
        except NotFoundError:
            return  # removed with its profile
        if row.state == "pending" and row.id not in self._taken:
            await self._take(row, nursery)
        elif row.state == "dropped" and (lane := self._lanes.get(row.session_key)):
            lane.wake.set()  # it need not be waited for any more

    async def _take(self, row: InboxRow, nursery: trio.Nursery) -> None:
        if "command" in row.meta:
            self._taken.add(row.id)
            self._commands += 1
            nursery.start_soon(self._command, row)
        elif not await self._answers_question(row):
            self._enqueue(row, nursery)

    def _enqueue(self, row: InboxRow, nursery: trio.Nursery) -> None:
        lane = self._lanes.get(row.session_key)
        if lane is None:
            lane = self._lanes[row.session_key] = SessionLane()
            nursery.start_soon(self._work, row.session_key, lane)
        elif lane.control and self._interrupts(row, lane.queue[0]):
            lane.control.stop("redirect")
        self._taken.add(row.id)
        lane.queue.append(row)
        lane.wake.set()

    def _interrupts(self, row: InboxRow, current: InboxRow) -> bool:
        """Only a person may redirect, and only what a person asked: another webhook delivery must not end this one."""
        busy = self._bench().settings.config.agent.busy
        return busy == "interrupt" and is_attended(row) and is_attended(current)

    async def _answers_question(self, row: InboxRow) -> bool:
        """A person's plain message in a session whose turn waits for its user is the answer."""
        if not is_attended(row):
            return False
        question = await self._asked_by(self._lanes.get(row.session_key))
        if question is None and (question := await asked_here(self._store, row, text=row.text)) is None:
            return False
        try:
            session = await self._session_of(row)
            await persist(lambda: self._bench().questions.answer(question.id, row.text))
            begun = await persist(lambda: self._store.begin_turn(row.id, session_id=session))
            await persist(lambda: self._store.finish_turn(begun.turn.id, state="done", inbox_state="done"))
        except (ConflictError, NotFoundError):
            return False  # no longer open, so it is a message like any other; or the row itself is gone
        return True

    async def _asked_by(self, lane: SessionLane | None) -> QuestionRow | None:
        """What the conversation's own turn waits for."""
        if lane is None or not lane.turn_id:
            return None
        waiting = await persist(lambda: self._store.open_questions(session_id=lane.session_id))
        return next((item for item in waiting if item.turn_id == lane.turn_id), None)

    # -- sessions ----------------------------------------------------------------------------------------------------

    async def _work(self, key: str, lane: SessionLane) -> None:
        lane.wake = trio.Event()
        while lane.queue and not self._draining:
            row = lane.queue[0]
            await self._wait_until_due(row, lane)
            lane.wake = trio.Event()  # what comes while it is tried is a reason to try again at once
            if self._ready:
                await self._ready()
            async with Slot(self._limiter) as slot:
                outcome = await self._turn(row, lane, slot)
            if self._turn_ended:
                await self._turn_ended()
            if outcome.state == "deferred":
                lane.queue[0] = msgspec.structs.replace(row, not_before=outcome.not_before)
            elif outcome.state != "suspended":
                lane.queue.popleft()
                self._taken.discard(row.id)
        del self._lanes[key]
        self._taken -= {row.id for row in lane.queue}

    async def _wait_until_due(self, row: InboxRow, lane: SessionLane) -> None:
        """A deferred message waits for its instant; a new message of the session is a reason to try at once."""
        delay = row.not_before - time.time()
        if delay > 0:
            with trio.move_on_after(delay):
                await lane.wake.wait()

    async def _turn(self, row: InboxRow, lane: SessionLane, slot: Slot) -> Outcome:
        if self._draining:
            return Outcome("suspended")
        bench = self._bench()
        try:
            if self._overrides is not None:
                bench = self._overrides.bench(bench, row)
            session = await self._session_of(row)
            control = TurnControl(trio.CancelScope(), slot.standing_still)
            lane.begin(control, session, bench.provider)
            begun = await persist(lambda: self._store.begin_turn(row.id, session_id=session))
            lane.turn_id = begun.turn.id
            return await run_turn(bench, begun, control)
        except (ConflictError, NotFoundError) as error:
            log.info("inbox %d is not to be answered any more: %s", row.id, error.what)
            return Outcome("cancelled")
        except ConfigError as error:
            return await self._refuse(row, error)
        finally:
            lane.end()
            self._idle.set()

    async def _refuse(self, row: InboxRow, error: ConfigError) -> Outcome:
        """The event asks for what there is not: its turn fails with the reason."""
        session = await self._session_of(row)
        begun = await persist(lambda: self._store.begin_turn(row.id, session_id=session))
        text = f"This could not be started: {error.what}. {error.next_step}".rstrip(". ") + "."
        rows = outbox_rows(row, text, key=f"turn:{begun.turn.id}:reply", turn_id=begun.turn.id)
        await persist(
            lambda: self._store.finish_turn(
                begun.turn.id, state="failed", inbox_state="failed", outbox=rows, error=error.what
            )
        )
        return Outcome("failed")

    async def _session_of(self, row: InboxRow) -> str:
        """The session an event names (``meta.session``), or the one its key is bound to."""
        if named := row.meta.get("session"):
            return named
        found = await persist(lambda: self._store.open_session(row.profile, row.session_key, source=row.source))
        return found.id

    # -- commands ----------------------------------------------------------------------------------------------------

    async def _command(self, row: InboxRow) -> None:
        """Run a slash command: its effect, then its reply and acknowledgement in one commit."""
        try:
            session = await self._session_of(row)
            begun = await persist(lambda: self._store.begin_turn(row.id, session_id=session))
            lane = self._lanes.get(row.session_key) or SessionLane()
            desk = slash.Desk(self._store, self._bench(), row, session, lane, self.running)
            await slash.carry_out(desk, begun.turn)
        except (ConflictError, NotFoundError) as error:
            log.info("the command in inbox %d is not carried out: %s", row.id, error.what)
        finally:
            self._commands -= 1
            self._taken.discard(row.id)
            self._idle.set()

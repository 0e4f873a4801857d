"""The only way out: outbox rows to their platforms, in order at each address, each outcome recorded.

    pending ──mark_attempting──► attempting ──send──► sent
       ▲                             │ PlatformError
       └───── backoff (pending) ◄────┼────► dead (permanent, or too many attempts)
                                     └────► held (the outcome is unknown and policy says hold)

A row found ``attempting`` was cut by a crash: it may have been sent. It is sent again with ``repeat`` set (the platform
then resumes at its ref, and marks as a possible repeat what it cannot resume), or held. Nothing here polls: the worker
sleeps until a row is queued, a platform connects, or a retry falls due. Retries wait by the monotonic clock: a wall
clock that is set neither holds them up nor lets them all go at once.
"""

from __future__ import annotations

import logging
import math
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Literal

import msgspec
import trio

from hermesd import failpoint
from hermesd.errors import ConflictError, NotFoundError
from hermesd.gateway.drafts import forget_draft, load_draft
from hermesd.gateway.outlets import LogOutlet
from hermesd.gateway.platform import PlatformError
from hermesd.turns.scope import persist

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from hermesd.gateway.connected import Connected
    from hermesd.gateway.outlets import Outlet
    from hermesd.store.protocol import Store
    from hermesd.store.records import EventRow, OutboxRow

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 24  # with the backoff below more than four hours
MAX_BACKOFF_S = 900.0
MAX_WAIT_S = 86_400.0  # whatever a platform or a clock that was put back says
UNKNOWN = "may have been sent: "
"""Begins the error of a row whose attempt ended without an answer; its next attempt is a possible repeat."""

_BATCH = 200
_MAX_BATCH = 20_000
Place = tuple[str, str, str]  # platform, chat, thread: within one, messages keep their order


class DeliveryWorker:
    """A service of one profile; ``drain`` sends what is due and can be sent, then returns.

    ``finish_drafts`` is awaited with a turn's id before its reply is sent (``Presenter.finish``): no draft edit may
    come after the final one. ``outlets`` are there without a connection; ``log`` always is.
    """

    def __init__(
        self,
        profile: str,
        *,
        store: Store,
        connected: Connected,
        finish_drafts: Callable[[str], Awaitable[None]] | None = None,
        outlets: Mapping[str, Outlet] | None = None,
        on_unknown: Literal["repeat", "hold"] = "repeat",
        max_concurrent: int = 8,
    ) -> None:
        self._profile = profile
        self._store = store
        self._connected = connected
        self._finish_drafts = finish_drafts
        self._outlets: dict[str, Outlet] = {"log": LogOutlet(), **(outlets or {})}
        self._on_unknown = on_unknown
        self._slots = trio.CapacityLimiter(max_concurrent)
        self._wake = trio.Event()
        self._busy: set[Place] = set()
        self._blocked: dict[Place, tuple[int, float]] = {}  # a row that waits, and until when (trio's clock)
        self._draining = False
        self._drained = trio.Event()

    # -- service -------------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver until cancelled."""
        unsubscribers = [
            self._store.subscribe(self._on_events, profile=self._profile),
            self._connected.subscribe(self._wake_up),
        ]
        try:
            await self._remember_waiting()
            async with trio.open_nursery() as nursery:
                task_status.started()
                while not self._drained.is_set():
                    self._wake = trio.Event()
                    await self._start_due(nursery)
                    if self._draining and not self._busy:
                        self._drained.set()
                        break
                    await self._sleep()
            await trio.sleep_forever()
        finally:
            for unsubscribe in unsubscribers:
                unsubscribe()

    async def drain(self) -> None:
        """Send what can be sent now and begin nothing after that; rows that wait for a retry are left to the store."""
        self._draining = True
        self._wake.set()
        await self._drained.wait()

    def _wake_up(self) -> None:
        self._wake.set()

    def _on_events(self, events: list[EventRow]) -> None:
        for event in events:
            if event.kind in {"outbox.queued", "outbox.dropped"}:
                self._unblock(event.data.get("id"))
                self._wake.set()

    def _unblock(self, row_id: object) -> None:
        """A person has decided on a row that others wait for."""
        for place, (blocking, _) in list(self._blocked.items()):
            if blocking == row_id:
                del self._blocked[place]

    async def _sleep(self) -> None:
        due = min((at for _, at in self._blocked.values()), default=None)
        if due is None:
            await self._wake.wait()
            return
        with trio.move_on_at(due):
            await self._wake.wait()

    # -- choosing ------------------------------------------------------------------------------------------------------

    async def _remember_waiting(self) -> None:
        """After a restart: rows in backoff still hold up those behind them."""
        if await persist(partial(self._store.next_outbox_at, self._profile)) is None:
            return
        waiting = await persist(
            lambda: self._store.outbox(profile=self._profile, states=("pending",), limit=_MAX_BATCH)
        )
        now = time.time()
        for row in waiting:  # newest first, so the oldest of a place is the one that stays
            if row.next_at > now and row.address.platform != "rpc":
                wait_s = min(row.next_at - now, MAX_WAIT_S)
                self._blocked[_place(row)] = (row.id, trio.current_time() + wait_s)

    async def _start_due(self, nursery: trio.Nursery) -> None:
        limit = _BATCH
        while True:
            rows = await persist(partial(self._store.due_outbox, self._profile, now=math.inf, limit=limit))
            self._start(rows, nursery)
            if len(rows) < limit or limit >= _MAX_BATCH:
                return
            limit *= 4  # rows that cannot go must not hide those behind them that can

    def _start(self, rows: list[OutboxRow], nursery: trio.Nursery) -> None:
        groups: dict[Place, list[OutboxRow]] = {}
        for row in rows:
            groups.setdefault(_place(row), []).append(row)
        for place, group in groups.items():
            if place in self._busy or self._outlet(place[0]) is None or self._must_wait(place, group[0]):
                continue
            self._busy.add(place)
            nursery.start_soon(self._work, place, group)

    def _must_wait(self, place: Place, row: OutboxRow) -> bool:
        blocking, until = self._blocked.get(place, (0, 0.0))
        if until <= trio.current_time():
            self._blocked.pop(place, None)
            return False
        return blocking <= row.id

    def _outlet(self, platform: str) -> Outlet | None:
        return self._outlets.get(platform) or self._connected.get(platform)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _work(self, place: Place, rows: list[OutboxRow]) -> None:
        """Send a place's rows in order until one has to wait."""
        try:
            async with self._slots:
                for row in rows:
                    outlet = self._outlet(place[0])
                    if outlet is None or not await self._deliver(row, outlet):
                        break
        finally:
            self._busy.discard(place)
            self._wake.set()

    async def _deliver(self, row: OutboxRow, outlet: Outlet) -> bool:
        """Attempt one row and record the outcome; False when it stays and those behind it must wait."""
        cut = row.state == "attempting"
        unknown = cut or row.error.startswith(UNKNOWN)
        row = await self._with_draft(row)
        if cut and self._on_unknown == "hold" and not row.ref:
            await self._record(row, "held", error=f"{UNKNOWN}the daemon was killed while it was being sent")
            return True
        try:
            await persist(lambda: self._store.mark_attempting(row.id, repeat=unknown))
        except (ConflictError, NotFoundError):
            return True  # dropped, or its profile is gone, while it waited
        failpoint.hit("outbox.attempting")
        row = msgspec.structs.replace(row, attempts=row.attempts + 1, repeat=row.repeat or unknown)
        try:
            sent = await outlet.send(row, progress=lambda ref: self._progress(row.id, ref))
        except PlatformError as error:
            return await self._failed(row, error)
        except Exception as error:  # a bug in one platform or message must not stop all others; it is logged in full
            logger.exception("sending outbox row %d failed", row.id)
            return await self._failed(row, PlatformError(f"internal error: {error!r}", certainty="unknown"))
        failpoint.hit("outbox.after_send")
        await persist(lambda: self._store.mark_sent(row.id, ref=sent.ref))
        failpoint.hit("outbox.sent")
        if row.kind == "reply" and row.turn_id:
            await persist(lambda: forget_draft(self._store, row.turn_id))
        return True

    async def _with_draft(self, row: OutboxRow) -> OutboxRow:
        """A turn's reply takes the place of its draft."""
        if row.kind != "reply" or not row.turn_id:
            return row
        if self._finish_drafts:
            await self._finish_drafts(row.turn_id)
        draft = None if row.ref else await load_draft(self._store, row.turn_id)
        if draft is None or draft.address != row.address:
            return row
        return msgspec.structs.replace(row, ref=draft.ref)

    async def _progress(self, row_id: int, ref: str) -> None:
        await persist(lambda: self._store.mark_draft(row_id, ref=ref))

    async def _failed(self, row: OutboxRow, error: PlatformError) -> bool:
        words = f"{UNKNOWN}{error.what}" if error.certainty == "unknown" else error.what
        if error.permanent or row.attempts >= MAX_ATTEMPTS:
            logger.error("outbox row %d to %s is given up: %s", row.id, row.address.platform, words)
            await self._record(row, "dead", error=f"{words}; {error.next_step}" if error.next_step else words)
            return True
        if error.certainty == "unknown" and self._on_unknown == "hold":
            await self._record(row, "held", error=words)
            return True
        wait_s = min(max(error.retry_after_s, backoff_s(row.attempts)), MAX_WAIT_S)
        logger.warning("outbox row %d to %s waits for another try: %s", row.id, row.address.platform, words)
        self._blocked[_place(row)] = (row.id, trio.current_time() + wait_s)
        await self._record(row, "pending", error=words, next_at=time.time() + wait_s)
        return False

    async def _record(
        self, row: OutboxRow, state: Literal["pending", "held", "dead"], *, error: str, next_at: float = 0.0
    ) -> None:
        await persist(lambda: self._store.mark_unsent(row.id, state=state, error=error, next_at=next_at))


def backoff_s(attempts: int) -> float:
    """The pause after so many attempts: 1 s doubling to 15 minutes, with up to a quarter of jitter."""
    return min(MAX_BACKOFF_S, 2.0 ** min(attempts - 1, 30)) * random.uniform(1.0, 1.25)  # noqa: S311 - jitter


def _place(row: OutboxRow) -> Place:
    return row.address.platform, row.address.chat, row.address.thread

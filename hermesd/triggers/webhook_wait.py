"""``?wait=SECONDS``: a request that stays for its answer.

It waits on the store, so it does not matter who answers, nor whether the sender is still there: an event that was
accepted is worked on in any case. Those who wait are few, and leave at once when the daemon or the profile stops.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import trio

from hermesd.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermesd.store.protocol import Store
    from hermesd.store.records import EventRow, InboxRow

MAX_WAIT_S = 300.0
MAX_WAITING = 64
MAX_WAITING_ON_ROUTE = 16
_UNDECIDED = ("pending", "running")


@dataclass(frozen=True, slots=True)
class Answer:
    """How an event ended: ``state`` is done, failed, parked or dropped."""

    state: str
    text: str = ""
    error: str = ""
    session: str = ""


def wanted_wait_s(query: str) -> float:
    """The seconds in ``wait=`` of a query, ``MAX_WAIT_S`` at most; 0 when there is none. Raises ValueError."""
    if "wait" not in query:
        return 0.0
    given = parse_qs(query, keep_blank_values=True, max_num_fields=100).get("wait")
    if given is None:
        return 0.0
    text = given[0]
    if len(given) != 1 or not (text.isascii() and text.replace(".", "", 1).isdigit() and len(text) <= 12):
        raise ValueError("wait is not a number of seconds")
    return min(float(text), MAX_WAIT_S)


class WaitingRoom:
    """Places for those who wait."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: Counter[tuple[str, str]] = Counter()
        self._scopes: dict[trio.CancelScope, str] = {}
        self._closed = 0

    def has_place(self, profile: str, route: str) -> bool:
        """Whether one more may wait for an answer of this route."""
        return self._waiting.total() < MAX_WAITING and self._waiting[profile, route] < MAX_WAITING_ON_ROUTE

    def release(self, profile: str | None = None) -> None:
        """Send away those who wait for a profile, or all: a stop is not to wait for them."""
        for scope, waits_for in list(self._scopes.items()):
            if profile in (None, waits_for):
                scope.cancel()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Send everybody away, and let nobody wait meanwhile: for a listener that is being drained."""
        self._closed += 1
        self.release()
        try:
            yield
        finally:
            self._closed -= 1

    async def answer(self, inbox_id: int, *, profile: str, route: str, seconds: float) -> Answer | None:
        """How the event ended; None when it is still open after so many seconds, or nobody may wait any longer."""
        if self._closed:
            return None
        self._waiting[profile, route] += 1
        found = None
        try:
            with trio.move_on_after(seconds) as scope:
                self._scopes[scope] = profile
                found = await self._decided(inbox_id, profile)
        finally:
            del self._scopes[scope]
            self._waiting[profile, route] -= 1
        return found

    async def _decided(self, inbox_id: int, profile: str) -> Answer | None:
        wake = trio.Event()

        def on_events(_events: list[EventRow]) -> None:
            wake.set()

        unsubscribe = self._store.subscribe(on_events, profile=profile)
        try:
            while (row := await self._store.inbox_row(inbox_id)).state in _UNDECIDED:
                await wake.wait()
                wake = trio.Event()
            return await self._answer(row)
        except NotFoundError:  # its profile has been deleted meanwhile
            return None
        finally:
            unsubscribe()

    async def _answer(self, row: InboxRow) -> Answer:
        turn = await self._store.turn_of(row.id)
        if turn is None:
            return Answer(row.state, error=row.error)
        reply = await self._store.outbox_by_key(f"turn:{turn.id}:reply")
        return Answer(row.state, reply.text if reply else "", turn.error or row.error, turn.session_id)

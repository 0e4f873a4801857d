"""``events.*``: the exact suffix after a revision, then what happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import trio

from hermesd.errors import ConflictError
from hermesd.rpc import queries
from hermesd.rpc.methods.lists import bounded
from hermesd.rpc.routes import slow, stream
from hermesd.rpc.wire import EventNotification, EventsParams

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller, Stream
    from hermesd.rpc.context import Daemon
    from hermesd.store.records import EventPage, EventRow

PAGE_EVENTS = 1000


@slow("events.list")
async def list_events(caller: Caller, params: EventsParams) -> EventPage:
    """One page after a revision; ``truncated`` says that older ones are gone."""
    return await queries.events_since(caller.daemon, params.since, params.profile, bounded(params.limit))


@stream("events.watch")
async def watch(caller: Caller, params: EventsParams, stream: Stream) -> NoReturn:
    """Without gap or duplicate; ends only by an error, or because the client left. Raises ConflictError: too old."""
    watcher = Watcher(caller.daemon, stream, params)
    unsubscribe = caller.daemon.store.subscribe(watcher.take)
    try:
        await watcher.catch_up(min(bounded(params.limit), PAGE_EVENTS))
        await trio.sleep_forever()
    finally:
        unsubscribe()


class Watcher:
    """Reads pages while events of new commits only raise ``_newest``; then those commits go straight to the client.

    The turn from one to the other happens between two awaits: when everything up to ``_newest`` has been sent, so that
    an event is in a page or comes live, and one that is in both is recognised by its revision.
    """

    def __init__(self, daemon: Daemon, stream: Stream, params: EventsParams) -> None:
        self._daemon = daemon
        self._stream = stream
        self._profile = queries.scope(daemon, params.profile)
        self._passed(params.since)
        self._newest = 0
        self._is_live = False

    def take(self, events: list[EventRow]) -> None:
        """The events of a commit, in order (Store.subscribe)."""
        if not self._is_live:
            self._newest = max(self._newest, events[-1].id if events else 0)
            return
        for event in events:
            if event.id > self._sent:
                if self._profile is None or event.profile == self._profile:
                    self._stream.offer(EventNotification(id=self._stream.id, event=event))
                self._passed(event.id)  # after the offer: one that is refused is where the client must go on

    async def catch_up(self, page_size: int) -> None:
        """Send what the store holds, as fast as the client reads."""
        while True:
            page = await self._daemon.store.events_since(self._sent, limit=page_size, profile=self._profile)
            self._check(page)
            for event in page.events:
                self._passed(event.id)
                await self._stream.send(EventNotification(id=self._stream.id, event=event))
            if len(page.events) < page_size:
                self._passed(max(self._sent, page.last_id))
                if self._sent >= self._newest:
                    self._is_live = True
                    return

    def _check(self, page: EventPage) -> None:
        if page.truncated and self._sent > 0:
            raise ConflictError(
                f"events after revision {self._sent} are no longer all there: the oldest is {page.oldest_id}",
                where="since",
                next_step=f"read the state anew, then watch with since={page.last_id}",
            )
        if self._sent > page.last_id:
            raise ConflictError(
                f"there is no revision {self._sent} yet: the newest is {page.last_id}",
                where="since",
                next_step="the state file is another one than before: read the state anew",
            )

    def _passed(self, revision: int) -> None:
        """Everything up to this revision has been written to the client, or is not for it."""
        self._sent = revision
        self._stream.resume = f"watch again with since={revision}"

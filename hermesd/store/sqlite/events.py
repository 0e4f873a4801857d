"""The event log: the exact suffix after a revision, and who is told of each commit."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from hermesd.store.records import EventPage
from hermesd.store.sqlite.rows import EVENT_COLUMNS, event_row

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.store.records import EventRow
    from hermesd.store.sqlite.transaction import View

    Listener = Callable[[list[EventRow]], None]

log = logging.getLogger("hermesd.store")


def last_id(view: View) -> int:
    """The newest revision ever given, also when its row has been removed."""
    return view.value("SELECT seq FROM sqlite_sequence WHERE name = 'events'") or 0


def since(view: View, after_id: int, limit: int, profile: str | None) -> EventPage:
    """The events after a revision; ``truncated`` when older ones than asked for have been removed."""
    newest = last_id(view)
    first = view.value("SELECT min(id) FROM events")
    oldest = newest + 1 if first is None else first
    rows = view.all(
        f"SELECT {EVENT_COLUMNS} FROM events WHERE id > ?1 AND (?2 IS NULL OR profile = ?2) ORDER BY id LIMIT ?3",  # noqa: S608 - constant
        after_id,
        profile,
        limit,
    )
    return EventPage(
        events=[event_row(row) for row in rows],
        last_id=newest,
        oldest_id=oldest,
        truncated=after_id < oldest - 1,
    )


class Subscribers:
    """Those who are told of each commit, on the loop, in order."""

    def __init__(self) -> None:
        self._listeners: dict[str | None, dict[object, Listener]] = {}

    def add(self, listener: Listener, profile: str | None = None) -> Callable[[], None]:
        """Tell of every event, or of one profile's; returns the unsubscriber."""
        handle = object()
        self._listeners.setdefault(profile, {})[handle] = listener

        def remove() -> None:
            of_profile = self._listeners.get(profile, {})
            of_profile.pop(handle, None)
            if not of_profile:
                self._listeners.pop(profile, None)

        return remove

    def tell(self, events: list[EventRow]) -> None:
        """Costs nothing for the profiles that have no part in the commit, however many there are."""
        self._tell(None, events)
        for profile in {event.profile for event in events} & self._listeners.keys():
            self._tell(profile, [event for event in events if event.profile == profile])

    def _tell(self, profile: str | None, events: list[EventRow]) -> None:
        """A listener that raises is logged and the others are told: the loop must not end for it."""
        for listener in list(self._listeners.get(profile, {}).values()):
            try:
                listener(events)
            except Exception:
                log.exception("a listener to events raised")

"""What every profile of a daemon has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import trio

    from hermesd.gateway.http_front import HttpFront
    from hermesd.home import Home
    from hermesd.store.protocol import Store
    from hermesd.store.records import Address
    from hermesd.tools.base import Jobs
    from hermesd.turns.live import Live
    from hermesd.turns.questions import Questions


class Shared(msgspec.Struct, frozen=True):
    """Handed to each profile: the store, the live updates, the bound over all turns, and the HTTP front.

    ``environment`` is the daemon's own environment, of which children get an allow-listed part. ``jobs(profile,
    origin)`` is what a turn may do about scheduled jobs.
    """

    home: Home
    store: Store
    live: Live
    questions: Questions
    limiter: trio.CapacityLimiter
    http: HttpFront
    environment: Mapping[str, str]
    jobs: Callable[[str, Address | None], Jobs]

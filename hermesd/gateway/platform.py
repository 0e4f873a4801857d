"""What a chat platform is: a service that feeds the inbox, and a sender that only the delivery worker calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from hermesd.errors import HermesError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import trio

    from hermesd.store.records import Address, OutboxRow

Certainty = Literal["not_sent", "unknown"]
"""not_sent: the platform certainly did not take it. unknown: it may have (the answer was lost)."""


class PlatformError(HermesError):
    """A platform refused or failed.

    ``permanent`` sends go to the dead letters; others are tried again after ``retry_after_s`` (0: usual backoff).
    ``fatal`` means that the platform itself cannot go on (wrong token): the service fails with the next step shown.
    """

    rpc_code = -32020

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        next_step: str = "",
        permanent: bool = False,
        fatal: bool = False,
        retry_after_s: float = 0.0,
        certainty: Certainty = "not_sent",
    ) -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.permanent = permanent
        self.fatal = fatal
        self.retry_after_s = retry_after_s
        self.certainty = certainty


class Sent(msgspec.Struct, frozen=True):
    """Proof of delivery: the platform's message ids, comma-separated when it was split."""

    ref: str


class Platform(Protocol):
    """One connection of one profile to one platform."""

    name: str
    proven_at: float
    """Epoch seconds of the last proof that the connection works (a poll that returned); 0 before the first."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Receive: every message ends in ``store.accept``; the platform is acknowledged only after it returned."""

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Send ``row.text``, split as the platform needs; ``await progress(ref)`` after each part that is out.

        ``row.ref`` is the last ref given to ``progress`` or returned by ``show_draft`` (opaque to everyone else): parts
        it names are not sent again, a draft it names becomes the final text. ``row.repeat`` asks for a short marker
        that this may be a repeat. Raises PlatformError.
        """

    async def show_draft(self, address: Address, text: str, ref: str) -> str:
        """Show or update an unfinished answer within the platform's rate limits; returns the draft's ref ('' = none).
        Raises PlatformError."""

    async def typing(self, address: Address) -> None:
        """Show that an answer is being made; failures are of no consequence and not raised."""

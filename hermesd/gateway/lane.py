"""One conversation's messages in order, and the turn under way."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import msgspec
import trio

if TYPE_CHECKING:
    from hermesd.providers.base import Provider
    from hermesd.store.records import InboxRow
    from hermesd.turns.engine import TurnControl


class SessionLane(msgspec.Struct):
    """``queue`` begins with the message being answered. ``control`` is there while a turn runs, ``turn_id`` too.

    ``wake`` is a reason to try a deferred message at once; ``ended`` is set when the turn under way has ended.
    """

    queue: deque[InboxRow] = msgspec.field(default_factory=deque)
    control: TurnControl | None = None
    session_id: str = ""
    turn_id: str = ""
    provider: Provider | None = None
    wake: trio.Event = msgspec.field(default_factory=trio.Event)
    ended: trio.Event = msgspec.field(default_factory=trio.Event)

    @property
    def waiting(self) -> list[InboxRow]:
        """Messages whose turn has not begun."""
        return list(self.queue)[1 if self.control else 0 :]

    def begin(self, control: TurnControl, session_id: str, provider: Provider) -> None:
        """The first message's turn begins."""
        self.control, self.session_id, self.provider = control, session_id, provider
        self.ended = trio.Event()

    def end(self) -> None:
        """It is over, or put off."""
        self.control, self.turn_id, self.provider = None, "", None
        self.ended.set()

    async def stop(self) -> bool:
        """Cancel the running turn on behalf of its user and wait until that is recorded; False when none runs."""
        if self.control is None:
            return False
        self.control.stop("user")
        await self.ended.wait()
        return True

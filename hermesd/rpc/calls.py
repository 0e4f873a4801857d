"""What a method's handler is given: who calls, and for a stream, where its updates go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import msgspec

from hermesd.errors import HermesError
from hermesd.rpc.wire import LAGGED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.rpc.context import Daemon
    from hermesd.rpc.peer import Peer
    from hermesd.rpc.wire import Result, Role


class LaggedError(HermesError):
    """The client did not read its stream, and what waited for it went over the bound."""

    rpc_code = LAGGED


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the audit log. ``subject`` names what the call is about, never what people wrote.

    ``outcome``: allowed (before the call takes effect), denied, or failed (a second record, with ``error``).
    """

    method: str
    uid: int
    pid: int
    role: str
    outcome: str
    subject: str = ""
    error: str = ""


class Caller:
    """One connection's caller. ``role`` is the one found for the request at hand."""

    __slots__ = ("daemon", "peer", "role")

    def __init__(self, daemon: Daemon, peer: Peer) -> None:
        self.daemon = daemon
        self.peer = peer
        self.role: Role = "read"

    def profile(self, named: str) -> str:
        """``named``, or the current profile."""
        return named or self.daemon.current_profile()


class Stream(ABC):
    """The updates of one request. ``id`` is the request's, which every update carries.

    A handler may set two things. ``delivered`` is awaited once the result has been handed to the kernel whole.
    ``resume`` says how to go on after the stream was cut, because its client lagged or because the daemon stops.
    """

    __slots__ = ("delivered", "id", "resume")

    def __init__(self, request_id: int | str) -> None:
        self.id = request_id
        self.delivered: Callable[[], Awaitable[None]] | None = None
        self.resume = "ask again"

    @abstractmethod
    def offer(self, update: Result) -> None:
        """Queue an update without waiting, from a listener on the loop. Too much unread ends the stream (lagged)."""

    @abstractmethod
    async def send(self, update: Result) -> None:
        """Send an update and wait until the client has made room for it: for a backlog that is elsewhere anyway."""

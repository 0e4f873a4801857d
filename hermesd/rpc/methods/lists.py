"""``sessions.*``, ``inbox.*`` and ``outbox.*``: what the store holds, and decisions about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.rpc import queries
from hermesd.rpc.routes import slow
from hermesd.rpc.wire import (
    Done,
    InboxDetail,
    InboxParams,
    InboxResult,
    OptionalProfileParams,
    OutboxParams,
    OutboxResult,
    ResolveParams,
    RowParams,
    SearchParams,
    SearchResult,
    SessionParams,
    SessionResult,
    SessionsResult,
)
from hermesd.rpc.wire_outbox import OutboxDetail

if TYPE_CHECKING:
    from hermesd.rpc.calls import Caller

MAX_ROWS = 10_000


def bounded(limit: int) -> int:
    """A limit as it may reach the store."""
    return max(1, min(limit, MAX_ROWS))


@slow("sessions.list")
async def sessions(caller: Caller, params: OptionalProfileParams) -> SessionsResult:
    """Sessions, most recently used first."""
    return await queries.sessions(caller.daemon, params.profile, bounded(params.limit))


@slow("sessions.show")
async def session(caller: Caller, params: SessionParams) -> SessionResult:
    """A session's messages."""
    return await queries.session(caller.daemon, params.session, params.profile, bounded(params.limit))


@slow("sessions.search")
async def search(caller: Caller, params: SearchParams) -> SearchResult:
    """Messages that contain the words."""
    return await queries.search(caller.daemon, params.query, params.profile, bounded(params.limit))


@slow("inbox.list")
async def inbox(caller: Caller, params: InboxParams) -> InboxResult:
    """Accepted events; by default those that need attention."""
    states = params.states or queries.INBOX_ATTENTION
    return await queries.inbox(caller.daemon, params.profile, states, bounded(params.limit))


@slow("inbox.show")
async def inbox_row(caller: Caller, params: RowParams) -> InboxDetail:
    """An event with its turn and journal."""
    return await queries.inbox_row(caller.daemon, params.id)


@slow("inbox.resolve")
async def resolve_inbox(caller: Caller, params: ResolveParams) -> Done:
    """Decide on a parked or failed event; a taken-up one is answered even if its profile's gateway is stopped."""
    row = await caller.daemon.store.resolve_inbox(params.id, action=params.action, note=params.note)
    if row.state == "pending":
        await caller.daemon.ensure_turns(row.profile)
    return Done(message=f"inbox {row.id} is {row.state}")


@slow("outbox.list")
async def outbox(caller: Caller, params: OutboxParams) -> OutboxResult:
    """Outgoing messages; by default all that are not sent."""
    states = params.states or queries.OUTBOX_ATTENTION
    return await queries.outbox(caller.daemon, params.profile, states, bounded(params.limit))


@slow("outbox.show")
async def outbox_row(caller: Caller, params: RowParams) -> OutboxDetail:
    """One outgoing message."""
    return await queries.outbox_row(caller.daemon, params.id)


@slow("outbox.resolve")
async def resolve_outbox(caller: Caller, params: ResolveParams) -> Done:
    """Retry or drop a message."""
    row = await caller.daemon.store.resolve_outbox(params.id, action=params.action)
    return Done(message=f"outbox {row.id} is {row.state}")

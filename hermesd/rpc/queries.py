"""What read-only verbs ask of a running daemon: small functions from a daemon to a result of the wire."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeVar, get_args

import trio

import hermesd
from hermesd.errors import NotFoundError, UsageError
from hermesd.rpc import wire
from hermesd.rpc.checks import home_checks
from hermesd.rpc.log_tail import read_tail
from hermesd.rpc.wire_outbox import OutboxDetail
from hermesd.store.records import EventPage, InboxState, OutboxState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hermesd.rpc.context import Daemon
    from hermesd.supervision.service import ServiceStatus

State = TypeVar("State", bound=str)
INBOX_ATTENTION: tuple[InboxState, ...] = ("pending", "running", "parked", "failed")
INBOX_STATES: tuple[InboxState, ...] = get_args(InboxState)
OUTBOX_STATES: tuple[OutboxState, ...] = get_args(OutboxState)
OUTBOX_ATTENTION: tuple[OutboxState, ...] = tuple(state for state in OUTBOX_STATES if state != "sent")
EVENTS_LOOKED_AT = 1000

_disk = trio.CapacityLimiter(2)  # reading logs and looking at a home may meet a slow disk; nobody else waits for it


async def status(daemon: Daemon) -> wire.StatusResult:
    """The daemon at a glance."""
    counts = await daemon.store.counts()
    services, failed = daemon.tally()
    return wire.StatusResult(
        version=hermesd.__version__,
        pid=os.getpid(),
        started_at=daemon.started_at,
        home=str(daemon.home.root),
        profiles=daemon.profile_summaries(),
        services=services,
        inbox=counts.inbox,
        outbox=counts.outbox,
        turns_running=daemon.turns_running(),
        rss_bytes=rss_bytes(),
        problems=[*failed, *_waiting_for_decisions(counts.inbox, counts.outbox)],
    )


def _walk(service: ServiceStatus) -> Iterator[ServiceStatus]:
    pending = [service]
    while pending:
        found = pending.pop()
        yield found
        pending += reversed(found.children)


def _waiting_for_decisions(inbox: dict[str, int], outbox: dict[str, int]) -> Iterator[str]:
    if count := inbox.get("parked", 0):
        yield f"{count} parked in the inbox, waiting for a decision: hermesctl inbox"
    if count := outbox.get("held", 0) + outbox.get("dead", 0):
        yield f"{count} held or given up in the outbox: hermesctl outbox"


def rss_bytes() -> int:
    """Resident memory of this process (proc_pid_statm(5)); the peak of it where there is no /proc."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a kernel file, not worth a Path
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def tree(daemon: Daemon, name: str = "") -> wire.TreeResult:
    """The supervision tree, or the part of it below a service; raises NotFoundError."""
    root = daemon.tree()
    if not name:
        return wire.TreeResult(root=root)
    for service in _walk(root):
        if service.name == name:
            return wire.TreeResult(root=service)
    raise NotFoundError(f"no service {name!r}", next_step="see `hermesctl tree` for their names")


async def doctor(daemon: Daemon) -> wire.DoctorResult:
    """What can be seen from outside, then what the daemon knows of itself; later checks replace those of one name."""
    outside = await trio.to_thread.run_sync(home_checks, daemon.home, limiter=_disk)
    found = {check.name: check for check in (*outside, *daemon.doctor_checks())}
    return wire.DoctorResult(checks=list(found.values()))


async def configured(daemon: Daemon, name: str, key: str) -> Any:  # noqa: ANN401 - whatever the key holds
    """A value of a profile's files as they are now. Raises ConfigError, NotFoundError."""
    from hermesd.config.load import load_settings
    from hermesd.config.show import value_of

    found = daemon.home.profile(name or daemon.current_profile())
    settings = await trio.to_thread.run_sync(load_settings, found, limiter=_disk)
    return value_of(settings.config, key)


def profiles(daemon: Daemon) -> wire.ProfilesResult:
    """Every profile."""
    return wire.ProfilesResult(profiles=daemon.profile_summaries())


def profile(daemon: Daemon, name: str = "") -> wire.ProfileSummary:
    """One profile, the current one by default; raises NotFoundError."""
    wanted = name or daemon.current_profile()
    for summary in daemon.profile_summaries():
        if summary.name == wanted:
            return summary
    raise NotFoundError(f"no profile {wanted!r}", next_step="see `hermesctl profile list`")


def scope(daemon: Daemon, name: str) -> str | None:
    """The profile a list is limited to: None, every one, for ''; raises NotFoundError for an unknown name."""
    return profile(daemon, name).name if name else None


async def sessions(daemon: Daemon, profile_name: str, limit: int) -> wire.SessionsResult:
    """Sessions, most recently used first."""
    return wire.SessionsResult(sessions=await daemon.store.sessions(profile=scope(daemon, profile_name), limit=limit))


async def session(daemon: Daemon, session_id: str, profile_name: str, limit: int) -> wire.SessionResult:
    """One session with its newest messages; raises NotFoundError, ConflictError."""
    found = await daemon.store.session(session_id, profile=scope(daemon, profile_name))
    return wire.SessionResult(session=found, messages=await daemon.store.messages(found.id, limit=limit))


async def search(daemon: Daemon, query: str, profile_name: str, limit: int) -> wire.SearchResult:
    """Messages that contain the words."""
    return wire.SearchResult(hits=await daemon.store.search(query, profile=scope(daemon, profile_name), limit=limit))


async def inbox(daemon: Daemon, profile_name: str, states: Sequence[str], limit: int) -> wire.InboxResult:
    """Inbox rows, newest first; raises UsageError for an unknown state."""
    wanted = _states(states, INBOX_STATES)
    return wire.InboxResult(
        rows=await daemon.store.inbox(profile=scope(daemon, profile_name), states=wanted, limit=limit)
    )


async def inbox_row(daemon: Daemon, inbox_id: int) -> wire.InboxDetail:
    """A row with its turn and journal; raises NotFoundError."""
    row = await daemon.store.inbox_row(inbox_id)
    turn = await daemon.store.turn_of(inbox_id)
    steps = await daemon.store.steps(turn.id) if turn else []
    return wire.InboxDetail(row=row, turn=turn, steps=steps)


async def outbox(daemon: Daemon, profile_name: str, states: Sequence[str], limit: int) -> wire.OutboxResult:
    """Outbox rows, newest first; raises UsageError for an unknown state."""
    wanted = _states(states, OUTBOX_STATES)
    return wire.OutboxResult(
        rows=await daemon.store.outbox(profile=scope(daemon, profile_name), states=wanted, limit=limit)
    )


async def outbox_row(daemon: Daemon, outbox_id: int) -> OutboxDetail:
    """One row; raises NotFoundError."""
    return OutboxDetail(row=await daemon.store.outbox_row(outbox_id))


def _states(named: Sequence[str], known: Sequence[State]) -> list[State]:
    by_name = {str(state): state for state in known}
    for name in named:
        if name not in by_name:
            raise UsageError(f"there is no state {name[:40]!r}", next_step=f"use one of: {', '.join(known)}")
    return [by_name[name] for name in named]


async def newest_events(daemon: Daemon, profile_name: str, limit: int) -> EventPage:
    """The last events; of one profile, those among the last thousand of all."""
    wanted = scope(daemon, profile_name)
    looked_at = limit if wanted is None else max(limit, EVENTS_LOOKED_AT)
    since = max(await daemon.store.last_event_id() - looked_at, 0)
    page = await daemon.store.events_since(since, limit=looked_at, profile=wanted)
    newest = page.events[-limit:] if limit else []
    return EventPage(events=newest, last_id=page.last_id, oldest_id=page.oldest_id)


async def events_since(daemon: Daemon, since: int, profile_name: str, limit: int) -> EventPage:
    """Events after a revision, oldest first."""
    return await daemon.store.events_since(since, limit=limit, profile=scope(daemon, profile_name))


async def logs(daemon: Daemon, lines: int, level: str, service: str) -> wire.LogsResult:
    """The last lines of hermesd.log that match."""
    path = daemon.home.logs / "hermesd.log"
    found = await trio.to_thread.run_sync(
        lambda: read_tail(path, lines=lines, level=level, service=service), limiter=_disk
    )
    return wire.LogsResult(lines=found)

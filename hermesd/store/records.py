"""The rows a store keeps, as immutable records; no cursor or driver object ever leaves ``store``.

Times are epoch seconds (UTC) as float. Ids are integers that only grow, except ``turn_id`` and ``session_id``,
which are text because people paste them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Effect = Literal["read_only", "idempotent", "unsafe"]
"""What re-running a tool call may do. Only ``read_only`` and ``idempotent`` calls are ever re-run unasked."""

InboxState = Literal["pending", "running", "done", "failed", "parked", "dropped"]
"""pending → running → done | failed | parked;  running → pending (deferred, suspended);  parked → pending | dropped."""

TurnState = Literal["running", "suspended", "deferred", "done", "failed", "cancelled", "parked"]
"""running → done | failed | cancelled | parked;  running → suspended (stop) | deferred (endpoint away) → running."""

StepState = Literal["intent", "started", "done", "unknown"]
"""intent (will be done) → started (may have had its effect) → done;  started → unknown after a crash, if unsafe."""

OutboxState = Literal["pending", "attempting", "sent", "held", "dead", "dropped"]
"""pending → attempting → sent | pending (retry) | held (a repeat needs a decision) | dead (given up);
held | dead → pending | dropped."""

QuestionState = Literal["open", "answered", "expired"]


JobState = Literal["active", "paused", "ended"]
"""active ⇄ paused;  active → ended (its last occurrence has come, or it expired)."""

WatchState = Literal["active", "paused"]

RunKind = Literal["job", "watch"]
"""What a run came of."""

RunState = Literal["queued", "script", "handed", "done", "silent", "failed", "skipped"]
"""queued → script (its script runs) → handed (an event of the inbox carries it on) | done | silent | failed;
skipped: it was due and was not to run (an earlier run was under way, or too much time had passed)."""


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of all rows: immutable, keyword-only."""


class Address(Record, frozen=True, kw_only=True):
    """Where a reply goes: ``platform`` and the platform's own ids, as text."""

    platform: str
    chat: str = ""
    thread: str = ""
    message: str = ""


class NewEvent(Record, frozen=True, kw_only=True):
    """An event for a profile, before it is accepted.

    ``(profile, source, delivery_id)`` is the dedupe key (7 days). ``source`` is e.g. ``telegram``, ``webhook:deploy``,
    ``rpc``. ``message_key``, where a platform numbers messages apart from deliveries, is a second one: a message that
    comes again under another delivery id is a duplicate too. ``session_key`` names the conversation (contracts:
    session keys). ``untrusted`` marks text that no allowed user wrote (a webhook's payload).
    """

    profile: str
    source: str
    delivery_id: str
    session_key: str
    text: str
    address: Address
    sender: str = ""
    untrusted: bool = False
    message_key: str = ""
    meta: dict[str, str] = {}


class InboxRow(NewEvent, frozen=True, kw_only=True):
    """An accepted event."""

    id: int
    state: InboxState
    received_at: float
    not_before: float = 0.0
    turn_id: str = ""
    error: str = ""


class Accepted(Record, frozen=True, kw_only=True):
    """The durable answer to an offered event: its row id, and whether it was here before."""

    id: int
    duplicate: bool
    state: InboxState = "pending"


class Cursor(Record, frozen=True, kw_only=True):
    """A position at a source, e.g. Telegram's update offset, committed in the same transaction as its events."""

    profile: str
    source: str
    value: str


class SessionRow(Record, frozen=True, kw_only=True):
    """A conversation."""

    id: str
    profile: str
    key: str
    source: str
    created_at: float
    updated_at: float
    title: str = ""
    messages: int = 0


class MessageRow(Record, frozen=True, kw_only=True):
    """One message of a session. ``body`` is a ``providers.base.Message`` as JSON text; ``text`` is what people read."""

    id: int
    session_id: str
    turn_id: str
    role: str
    text: str
    body: str
    created_at: float


class NewMessage(Record, frozen=True, kw_only=True):
    """A message to append when a turn ends."""

    role: str
    text: str
    body: str


class SearchHit(Record, frozen=True, kw_only=True):
    """A found message with a snippet in which hits stand between ``\\x02`` and ``\\x03``."""

    session_id: str
    message_id: int
    role: str
    snippet: str
    created_at: float
    title: str = ""


class StepRow(Record, frozen=True, kw_only=True):
    """One journalled step of a turn. ``request`` and ``result`` are JSON text; ``key`` is the tool call id."""

    turn_id: str
    seq: int
    kind: Literal["model", "tool"]
    name: str
    state: StepState
    effect: Effect = "read_only"
    key: str = ""
    request: str = ""
    result: str = ""
    at: float = 0.0


class TurnRow(Record, frozen=True, kw_only=True):
    """A turn: one inbox event being answered. ``crashes`` counts the times the daemon died while it was running."""

    id: str
    profile: str
    session_id: str
    inbox_id: int
    state: TurnState
    started_at: float
    ended_at: float = 0.0
    crashes: int = 0
    attempts: int = 1
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    error: str = ""


class BegunTurn(Record, frozen=True, kw_only=True):
    """What ``begin_turn`` hands the engine: the turn, its event, the journal so far, and the session's history."""

    turn: TurnRow
    event: InboxRow
    steps: list[StepRow]
    history: list[MessageRow]


class NewOutbox(Record, frozen=True, kw_only=True):
    """Something to say to the outside. ``idempotency_key`` is unique: offering the same key again changes nothing."""

    profile: str
    address: Address
    text: str
    idempotency_key: str
    turn_id: str = ""
    kind: Literal["reply", "notice", "question"] = "reply"


class OutboxRow(NewOutbox, frozen=True, kw_only=True):
    """An outgoing message. ``ref`` is the platform's message id(s), comma-separated, once known (also of a draft)."""

    id: int
    state: OutboxState
    created_at: float
    attempts: int = 0
    next_at: float = 0.0
    error: str = ""
    ref: str = ""
    repeat: bool = False


class QuestionRow(Record, frozen=True, kw_only=True):
    """Something a turn needs a person for: an approval or a clarification."""

    id: int
    turn_id: str
    session_id: str
    profile: str
    kind: Literal["approve", "clarify"]
    text: str
    options: list[str]
    state: QuestionState
    key: str
    answer: str = ""
    asked_at: float = 0.0


class JobRow(Record, frozen=True, kw_only=True):
    """A job: what is done when it is due. ``spec`` is a ``triggers.job.JobSpec`` as JSON text.

    ``due_at`` is the next occurrence, 0 for none, and ``next_at`` when it is taken up (later by the job's jitter);
    ``fired`` counts those that came.
    """

    id: str
    profile: str
    name: str
    spec: str
    state: JobState = "active"
    due_at: float = 0.0
    next_at: float = 0.0
    fired: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


class JobPut(Record, frozen=True, kw_only=True):
    """Insert or replace a job. ``expected``: its ``spec`` as it must be now; None: there must be no such job."""

    job: JobRow
    expected: str | None = None


class JobRemoval(Record, frozen=True, kw_only=True):
    """Remove a job whose ``spec`` is ``expected``; one that is gone already is no error."""

    id: str
    expected: str


class ValueChange(Record, frozen=True, kw_only=True):
    """Set a small named value, or (None) remove it."""

    name: str
    value: bytes | None


class Occurrence(Record, frozen=True, kw_only=True):
    """One due instant of a job. ``event`` begins the turn; without one the run is queued for its script.

    ``skip`` says why it is not to run. ``alone``: not while an earlier run of the job is under way.
    """

    due_at: float
    event: NewEvent | None = None
    skip: str = ""
    alone: bool = False


class Firing(Record, frozen=True, kw_only=True):
    """What is due of a job, and where it stands afterwards. ``expected`` is its ``next_at`` as it was read."""

    job_id: str
    expected: float
    occurrences: list[Occurrence]
    due_at: float
    next_at: float
    state: JobState


class RunRow(Record, frozen=True, kw_only=True):
    """A job's occurrence and what came of it. ``output`` is what its script said.

    Once it is ``handed``, the inbox row tells how it goes on: then ``state`` here is shown as done, failed, … too.
    """

    id: int
    job_id: str
    profile: str
    due_at: float
    state: RunState
    fired_at: float
    started_at: float = 0.0
    ended_at: float = 0.0
    inbox_id: int = 0
    output: str = ""
    error: str = ""


class WatchRow(Record, frozen=True, kw_only=True):
    """Something that is watched, and what is done when it changes. ``spec``: ``triggers.watch.WatchSpec`` as JSON text.

    ``primed``: what it looks at has been seen once, so that differences count. ``fired`` counts its events, ``last_at``
    is when the last one was, ``open_inbox`` its inbox row until what came of it is over and settled. ``error`` says
    why it cannot be watched at the moment.
    """

    id: str
    profile: str
    name: str
    spec: str
    state: WatchState = "active"
    primed: bool = False
    fired: int = 0
    last_at: float = 0.0
    open_inbox: int = 0
    error: str = ""
    created_at: float = 0.0
    updated_at: float = 0.0


class WatchPut(Record, frozen=True, kw_only=True):
    """Insert or replace a watch. ``expected`` as for ``JobPut``."""

    watch: WatchRow
    expected: str | None = None


class WatchRemoval(Record, frozen=True, kw_only=True):
    """Remove a watch, as ``JobRemoval``."""

    id: str
    expected: str


StoreChange = JobPut | JobRemoval | WatchPut | WatchRemoval | ValueChange
"""What ``Store.commit`` takes: changes that belong together."""


class EventRow(Record, frozen=True, kw_only=True):
    """A state change with its revision. ``data`` is a JSON object."""

    id: int
    at: float
    kind: str
    subject: str
    profile: str = ""
    data: dict[str, object] = {}


class EventPage(Record, frozen=True, kw_only=True):
    """Events after a revision. ``truncated`` says that older ones than asked for have been removed."""

    events: list[EventRow]
    last_id: int
    oldest_id: int
    truncated: bool = False


class Backlog(Record, frozen=True, kw_only=True):
    """What only the daemon of this store can go on with: ``messages`` not answered, ``answers`` not delivered yet.

    What waits for a person's decision (parked, held, dead) is not among them, nor what a client of the socket fetches.
    """

    messages: int
    answers: int

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return self.messages == self.answers == 0


class InboxCounts(Record, frozen=True, kw_only=True):
    """How many rows stand in each state, for status and metrics."""

    inbox: dict[str, int]
    outbox: dict[str, int]
    sessions: int
    events: int

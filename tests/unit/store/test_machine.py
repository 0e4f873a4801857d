"""Any sequence of calls, restarts included, against a model of a few dictionaries."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermesd.errors import ConflictError, NotFoundError
from hermesd.store.sqlite import SqliteStore
from tests.unit.store.samples import accept, reply, step

ENDINGS = {"done": "done", "failed": "failed", "cancelled": "done", "parked": "parked"}

Call = tuple[str, int, str]
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("accept"), st.integers(1, 3), st.just("")),
        st.tuples(st.just("begin"), st.integers(1, 4), st.just("")),
        st.tuples(st.just("step"), st.integers(1, 3), st.sampled_from(["intent", "started", "done"])),
        st.tuples(st.just("finish"), st.integers(1, 3), st.sampled_from(sorted(ENDINGS))),
        st.tuples(st.just("suspend"), st.integers(1, 3), st.sampled_from(["suspended", "deferred"])),
        st.tuples(st.just("resolve"), st.integers(1, 4), st.sampled_from(["retry", "resume", "drop"])),
        st.tuples(st.just("offer"), st.integers(1, 3), st.just("")),
        st.tuples(st.just("attempt"), st.integers(1, 4), st.just("")),
        st.tuples(st.just("sent"), st.integers(1, 3), st.just("")),
        st.tuples(st.just("unsent"), st.integers(1, 3), st.sampled_from(["pending", "held", "dead"])),
        st.tuples(st.just("decide"), st.integers(1, 3), st.sampled_from(["retry", "drop"])),
        st.tuples(st.just("restart"), st.just(0), st.just("")),
    ),
    max_size=40,
)


@dataclass
class Turn:
    inbox_id: int
    state: str = "running"
    crashes: int = 0
    attempts: int = 1
    step: str = ""


@dataclass
class Model:
    """What the store must hold, and the transitions as the records document them."""

    keys: dict[int, int] = field(default_factory=dict)  # delivery id → row id
    inbox: dict[int, str] = field(default_factory=dict)
    current: dict[int, Turn] = field(default_factory=dict)  # row id → its turn
    outbox: dict[int, str] = field(default_factory=dict)
    out_keys: dict[int, int] = field(default_factory=dict)
    events: int = 0

    def begin(self, inbox_id: int) -> bool:
        if self.inbox.get(inbox_id) not in ("pending", "running"):
            return False
        turn = self.current.get(inbox_id)
        if turn and turn.state in ("running", "suspended", "deferred"):
            if turn.state == "running":
                turn.crashes += 1
                turn.step = "unknown" if turn.step == "started" else turn.step
            turn.attempts += 1
            turn.state = "running"
        else:
            self.current[inbox_id] = Turn(inbox_id)
        self.inbox[inbox_id] = "running"
        return True

    def resolve(self, inbox_id: int, action: str) -> bool:
        allowed = {"retry": ("parked", "failed"), "resume": ("parked",), "drop": ("parked", "failed", "pending")}
        if self.inbox.get(inbox_id) not in allowed[action]:
            return False
        turn = self.current.get(inbox_id)
        if action == "resume" and turn:
            turn.state, turn.crashes = "suspended", 0
            turn.step = "done" if turn.step == "unknown" else turn.step
        if action == "drop" and turn and turn.state in ("suspended", "deferred"):
            turn.state = "cancelled"
        if action == "retry":
            self.current.pop(inbox_id, None)
        self.inbox[inbox_id] = "dropped" if action == "drop" else "pending"
        return True


class Run:
    """One sequence, on a real file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = SqliteStore.open(path)
        self.model = Model()
        self.turn_ids: dict[int, str] = {}

    async def refused(self, call: object) -> bool:
        try:
            await call  # type: ignore[misc]  # any coroutine of the store
        except (ConflictError, NotFoundError):
            return True
        return False

    async def play(self, calls: list[Call]) -> None:
        for name, number, word in calls:
            await getattr(self, name)(number, word)
        await self.compare()
        self.store.close()

    async def accept(self, number: int, _: str) -> None:
        known = self.model.keys.get(number)
        accepted = await accept(self.store, str(number), key=f"k{number}")
        assert accepted.duplicate == (known is not None)
        if known is None:
            self.model.keys[number] = accepted.id
            self.model.inbox[accepted.id] = "pending"
        else:
            assert (accepted.id, accepted.state) == (known, self.model.inbox[known])

    async def begin(self, number: int, _: str) -> None:
        inbox_id = self.model.keys.get(number, 99)
        session = await self.store.open_session("default", f"k{number}", source="telegram")
        try:
            begun = await self.store.begin_turn(inbox_id, session_id=session.id)
        except (ConflictError, NotFoundError):
            assert not self.model.begin(inbox_id)
            return
        assert self.model.begin(inbox_id)
        turn = self.model.current[inbox_id]
        assert (begun.turn.crashes, begun.turn.attempts) == (turn.crashes, turn.attempts)
        assert [row.state for row in begun.steps] == ([turn.step] if turn.step else [])
        self.turn_ids[inbox_id] = begun.turn.id

    def _turn(self, number: int) -> tuple[str, Turn | None]:
        inbox_id = self.model.keys.get(number, 99)
        turn = self.model.current.get(inbox_id)
        return self.turn_ids.get(inbox_id, "t_none"), turn if turn and turn.state == "running" else None

    async def step(self, number: int, state: str) -> None:
        turn_id, turn = self._turn(number)
        if turn:
            await self.store.journal([step(turn_id, state=state)])
            turn.step = state

    async def finish(self, number: int, state: str) -> None:
        turn_id, turn = self._turn(number)
        ending = ENDINGS[state]
        call = self.store.finish_turn(turn_id, state=state, inbox_state=ending)  # type: ignore[arg-type]  # sampled
        assert await self.refused(call) == (turn is None)
        if turn:
            turn.state, self.model.inbox[turn.inbox_id] = state, ending

    async def suspend(self, number: int, state: str) -> None:
        turn_id, turn = self._turn(number)
        call = self.store.suspend_turn(turn_id, state=state)  # type: ignore[arg-type]  # sampled
        assert await self.refused(call) == (turn is None)
        if turn:
            turn.state, self.model.inbox[turn.inbox_id] = state, "pending"

    async def resolve(self, number: int, action: str) -> None:
        inbox_id = self.model.keys.get(number, 99)
        refused = await self.refused(self.store.resolve_inbox(inbox_id, action=action))
        assert refused != self.model.resolve(inbox_id, action)

    async def offer(self, number: int, _: str) -> None:
        (row,) = await self.store.offer([reply(f"key{number}")])
        assert row.id == self.model.out_keys.setdefault(number, row.id)
        assert row.state == self.model.outbox.setdefault(row.id, "pending")

    async def attempt(self, number: int, _: str) -> None:
        row = self.model.out_keys.get(number, 99)
        refused = await self.refused(self.store.mark_attempting(row))
        assert refused == (self.model.outbox.get(row) not in ("pending", "attempting"))
        if not refused:
            self.model.outbox[row] = "attempting"

    async def sent(self, number: int, _: str) -> None:
        row = self.model.out_keys.get(number, 99)
        assert await self.refused(self.store.mark_sent(row, ref="1")) == (row not in self.model.outbox)
        if row in self.model.outbox:
            self.model.outbox[row] = "sent"

    async def unsent(self, number: int, state: str) -> None:
        row = self.model.out_keys.get(number, 99)
        refused = await self.refused(self.store.mark_unsent(row, state=state, error="e"))  # type: ignore[arg-type]  # sampled
        assert refused == (self.model.outbox.get(row) not in ("pending", "attempting"))
        if not refused:
            self.model.outbox[row] = state

    async def decide(self, number: int, action: str) -> None:
        row = self.model.out_keys.get(number, 99)
        refused = await self.refused(self.store.resolve_outbox(row, action=action))
        assert refused == (self.model.outbox.get(row) not in ("held", "dead", "pending"))
        if not refused:
            self.model.outbox[row] = "pending" if action == "retry" else "dropped"

    async def restart(self, _: int, __: str) -> None:
        await self.compare()
        self.store.close()
        self.store = SqliteStore.open(self.path)

    async def compare(self) -> None:
        """The rows are those of the model; revisions have no gap; lists and queues agree with the states."""
        assert {row.id: row.state for row in await self.store.inbox()} == self.model.inbox
        assert {row.id: row.state for row in await self.store.outbox()} == self.model.outbox
        waiting = sorted(row for row, state in self.model.inbox.items() if state in ("pending", "running"))
        assert [row.id for row in await self.store.waiting("default")] == waiting
        due = sorted(row for row, state in self.model.outbox.items() if state in ("pending", "attempting"))
        assert [row.id for row in await self.store.due_outbox("default", now=9e9)] == due
        for inbox_id, turn in self.model.current.items():
            found = await self.store.turn_of(inbox_id)
            assert found is not None
            assert (found.state, found.crashes) == (turn.state, turn.crashes)
        page = await self.store.events_since(0, limit=10_000)
        assert [row.id for row in page.events] == list(range(1, len(page.events) + 1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_any_sequence_of_calls_agrees_with_the_model(
    tmp_path_factory: pytest.TempPathFactory, calls: list[Call]
) -> None:
    """Inbox, turns and outbox move along the documented transitions only, across restarts."""

    async def play() -> None:
        await Run(tmp_path_factory.mktemp("machine") / "state.db").play(calls)

    trio.run(play)

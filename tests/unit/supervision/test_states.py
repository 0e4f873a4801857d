"""The table of states, and a supervisor under any sequence of what can happen to it."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import get_args

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from hermesd.errors import ConflictError
from hermesd.supervision.service import ServiceState
from hermesd.supervision.states import TRANSITIONS, StateEvent, next_state
from hermesd.supervision.supervisor import Supervisor

from .conftest import Recorder, spec

STATES = get_args(ServiceState)
EVENTS = get_args(StateEvent)
NEIGHBOURS = {(before, after) for (before, _), after in TRANSITIONS.items()}


def test_every_state_can_be_reached_and_left() -> None:
    """No dead ends and no orphans: from stopped everywhere, and from everywhere back to stopped."""
    for state in STATES:
        assert state in {after for before, after in NEIGHBOURS if before != state}
        reached = {state}
        while more := {after for before, after in NEIGHBOURS if before in reached} - reached:
            reached |= more
        assert "stopped" in reached


@given(st.sampled_from(STATES), st.sampled_from(EVENTS))
def test_a_transition_is_in_the_table_or_refused(state: ServiceState, event: StateEvent) -> None:
    """There are no other transitions than the table's."""
    if (state, event) in TRANSITIONS:
        assert next_state(state, event) == TRANSITIONS[state, event]
    else:
        with pytest.raises(ValueError, match=f"{state} cannot {event}"):
            next_state(state, event)


class Puppet:
    """A service body that does what it was last told: become ready, break, return, or ignore its cancellation."""

    def __init__(self) -> None:
        self.strings, self.pulls = trio.open_memory_channel[str](100)
        self.running = 0

    async def __call__(self, task_status: trio.TaskStatus[None]) -> None:
        self.running += 1
        assert self.running == 1
        try:
            ready = False
            async for word in self.pulls.clone():
                if word == "ready" and not ready:
                    ready = True
                    task_status.started()
                elif word == "crash":
                    raise ValueError("told to")
                elif word == "return":
                    return
                elif word == "ignore":
                    with trio.CancelScope(shield=True):
                        await trio.sleep(30)
        finally:
            self.running -= 1


STEPS = st.one_of(
    st.sampled_from(["ready", "crash", "return", "ignore"]),
    st.sampled_from(["start", "stop", "restart", "remove"]),
    st.floats(0.0, 100.0),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, max_size=25), st.sampled_from(["permanent", "transient", "temporary"]))
def test_no_sequence_of_events_breaks_the_tree(steps: list[str | float], kind: str) -> None:
    """Whatever happens in whatever order: only tabled transitions, one run at a time, neighbours untouched, an end."""
    changes = Recorder()

    async def step(root: Supervisor, puppet: Puppet, what: str | float) -> None:
        if isinstance(what, float):
            await trio.sleep(what)
        elif what in ("ready", "crash", "return", "ignore"):
            puppet.strings.send_nowait(str(what))
        elif what == "remove":
            await root.remove("puppet")
            await root.add(spec("puppet", puppet, kind=kind, max_restarts=3, stop_s=2), wait=False)
        elif what == "stop":
            await root.stop("puppet")
            assert root.find("puppet").state == "stopped"
            assert puppet.running == 0
        else:
            await getattr(root, str(what))("puppet", wait=False)

    async def main() -> None:
        root = Supervisor("hermesd", on_change=changes, wall=trio.current_time, rng=random.Random(1))
        puppet = Puppet()
        async with trio.open_nursery() as nursery:
            await nursery.start(root.run)
            await root.add(spec("neighbour"))
            await root.add(spec("puppet", puppet, kind=kind, max_restarts=3, stop_s=2), wait=False)
            for what in steps:
                try:
                    await step(root, puppet, what)
                except ConflictError:
                    assert root.find("puppet").state == "draining"
                assert root.find("neighbour").state == "ready"
                assert (root.find("puppet").next_try_at > 0) == (root.find("puppet").state == "backoff")
            assert set(await root.shutdown(5)) <= {"puppet"}
        assert puppet.running == 0
        assert [child.state for child in root.status().children if child.name == "neighbour"] == ["stopped"]
        assert root.find("puppet").state in ("stopped", "failed")

    trio.run(main, clock=MockClock(autojump_threshold=0))
    seen = ["stopped", *changes.states("puppet")]
    assert {pair for pair in pairwise(seen) if pair[0] != pair[1]} <= NEIGHBOURS
    assert changes.states("neighbour") == ["starting", "ready", "draining", "stopped"]

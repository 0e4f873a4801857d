"""Asking a person: approvals and clarifications, answered, expired, interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from hermesd.config.schema import PolicyConfig
from hermesd.store.records import QuestionRow
from hermesd.tools.base import ToolResult
from hermesd.turns.engine import TurnControl
from hermesd.turns.questions import means_always, means_no, means_yes
from hermesd.turns.slots import Slot
from tests.unit.turns.conftest import Probe, ScriptedProvider, World, reply
from tests.unit.turns.test_engine import tool_texts
from tests.waiting import PATIENCE_S, until

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.tools.base import ToolContext


async def asked(world: World) -> QuestionRow:
    """The open question, once there is one and the turn waits for it."""
    found = await until(
        world.store.open_questions, lambda rows: bool(rows) and world.questions.is_waiting(rows[0].turn_id)
    )
    return found[0]


@pytest.fixture
def careful(world: World) -> World:
    """A model that wants to act, where acting needs an approval."""
    world.policy = PolicyConfig(unsafe="ask")
    world.tools = [Probe("act", "unsafe")]
    world.provider = ScriptedProvider(reply("", "act"), reply("done"))
    return world


@pytest.mark.parametrize(
    ("answer", "runs", "told"),
    [
        ("yes", True, "ok"),
        ("/approve", True, "ok"),
        ("no", False, "the user said no"),
        ("what does that do?", False, "instead of yes or no the user answered: what does that do?"),
    ],
)
async def test_an_unsafe_call_waits_for_an_approval(careful: World, answer: str, runs: bool, told: str) -> None:
    """yes runs it; no does not; anything else does not either, and the model hears what was said."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(careful.say)
        question = await asked(careful)
        assert "Allow this call?\nact" in (await until(careful.outgoing))[0]  # after the question itself
        await careful.questions.answer(question.id, answer)
    assert bool(careful.tools[0].log) is runs
    assert told in tool_texts(careful.provider.requests[1])[0]


async def test_a_question_that_nobody_will_answer_is_closed_at_once(careful: World) -> None:
    """A client without a person says so, and the turn need not wait for the time to pass."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(careful.say)
        row = await careful.questions.answer((await asked(careful)).id, None)
    assert (row.state, row.answer) == ("expired", "")
    assert not careful.tools[0].log
    assert await careful.store.open_questions() == []


async def test_always_is_for_this_session_and_exactly_this_call(careful: World) -> None:
    """The same call again is not asked; other arguments, or another session, are."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(careful.say)
        await careful.questions.answer((await asked(careful)).id, "always")
    careful.provider = ScriptedProvider(reply("", "act"), reply("done"))
    await careful.say(delivery="2")
    assert len(careful.tools[0].log) == 4
    assert len(careful.approvals) == 1
    for number, (key, arguments) in enumerate([("k", '{"n":1}'), ("other", "{}")]):
        careful.provider = ScriptedProvider(reply("", ("act", arguments)), reply("done"))
        begun = await careful.begin(await careful.accept(delivery=f"x{number}", key=key), key=key)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(careful.run, begun)
            await careful.questions.answer((await asked(careful)).id, "no")
    assert len(careful.approvals) == 1, "a session without an approval takes no memory"


@pytest.mark.parametrize("source", ["webhook:deploy", "cron:daily", "watch:inbox"])
@pytest.mark.parametrize("unattended", ["deny", "ask"])
async def test_where_nobody_can_be_asked_the_call_is_refused_and_that_is_said(
    careful: World, source: str, unattended: str
) -> None:
    """At once: no question is opened, nobody is waited for."""
    careful.policy = PolicyConfig(unsafe="ask", unattended=unattended)
    await careful.say(source=source)
    assert careful.tools[0].log == []
    assert "nobody can be asked here" in tool_texts(careful.provider.requests[1])[0]
    assert await careful.store.open_questions() == []


async def test_a_question_expires(careful: World, autojump_clock: trio.testing.MockClock) -> None:
    """After ask_timeout_s the call is refused and the question closed."""
    autojump_clock.autojump_threshold = 0.05  # the store's thread works in real time
    careful.policy = PolicyConfig(unsafe="ask", ask_timeout_s=600)
    before = trio.current_time()
    await careful.say()
    assert trio.current_time() - before >= 600
    assert "nobody answered in time" in tool_texts(careful.provider.requests[1])[0]
    assert await careful.store.open_questions() == []


async def test_an_answer_that_was_committed_in_the_last_moment_counts(careful: World) -> None:
    """Who was told that it is allowed is not refused: the store has the last word."""
    careful.policy = PolicyConfig(unsafe="ask", ask_timeout_s=0.05)
    expire = careful.store.expire_question

    async def late(question_id: int) -> QuestionRow:
        await careful.store.answer(question_id, "yes")
        return await expire(question_id)

    careful.store.expire_question = late  # type: ignore[method-assign]  # this test only
    await careful.say()
    assert careful.tools[0].log == ["act+", "act-"]


async def test_an_answer_may_come_as_soon_as_the_question_is_known(careful: World) -> None:
    """A client that answers on the event, before the question has gone out, is not forgotten."""

    def on_events(events: list) -> None:
        for event in events:
            if event.kind == "question.asked":
                nursery.start_soon(careful.questions.answer, event.data["id"], "yes")

    careful.store.subscribe(on_events)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(careful.say)
    assert careful.tools[0].log == ["act+", "act-"]


async def test_an_open_question_survives_a_restart_and_is_not_put_twice(careful: World) -> None:
    """Suspended while it waits; the next start waits for the same answer, under the same outbox row."""
    control = TurnControl(trio.CancelScope())
    begun = await careful.begin(await careful.accept())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(careful.run, begun, control)
        first = await asked(careful)
        control.stop("shutdown")
    assert (await careful.store.turn(begun.turn.id)).state == "suspended"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(careful.run, await careful.begin(begun.event.id))
        again = await asked(careful)
        assert again.id == first.id
        await careful.questions.answer(again.id, "yes")
    assert careful.tools[0].log == ["act+", "act-"]
    assert len(await careful.outgoing()) == 2  # the question once, and the reply


async def test_an_answer_given_while_the_daemon_was_away_is_found(careful: World) -> None:
    """The store remembers it; nobody is asked again."""
    control = TurnControl(trio.CancelScope())
    begun = await careful.begin(await careful.accept())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(careful.run, begun, control)
        question = await asked(careful)
        control.stop("shutdown")
    await careful.questions.answer(question.id, "yes")
    await careful.run(await careful.begin(begun.event.id))
    assert careful.tools[0].log == ["act+", "act-"]


async def test_a_turn_that_waits_for_a_person_gives_its_place_to_others(world: World) -> None:
    """With one place, two turns wait at the same time; a third works."""
    world.provider = ScriptedProvider(reply("", ("clarify", '{"question":"which?"}')), reply("done"))
    limiter = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery:

        async def one(number: int) -> None:
            begun = await world.begin(await world.accept(delivery=str(number), key=f"k{number}"), key=f"k{number}")
            provider = ScriptedProvider(reply("", ("clarify", '{"question":"which?"}')), reply("done"))
            async with Slot(limiter) as slot:
                world.provider = provider
                await world.run(begun, TurnControl(trio.CancelScope(), slot.standing_still))

        nursery.start_soon(one, 1)
        nursery.start_soon(one, 2)
        found = await until(world.store.open_questions, lambda rows: len(rows) == 2 and not limiter.borrowed_tokens)
        for question in found:
            await world.questions.answer(question.id, "blue")
    assert limiter.borrowed_tokens == 0
    assert [row.state for row in await world.store.inbox()] == ["done", "done"]


async def test_a_turn_stopped_while_it_waits_gives_nothing_back_twice() -> None:
    """The place is free afterwards, whoever else wants it."""
    limiter = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery:

        async def waiter() -> None:
            async with Slot(limiter) as slot, slot.standing_still():
                await trio.sleep_forever()

        nursery.start_soon(waiter)
        await trio.testing.wait_all_tasks_blocked()
        await limiter.acquire_on_behalf_of("other")
        nursery.cancel_scope.cancel()
    assert limiter.borrowed_tokens == 1


def test_what_counts_as_yes_always_and_no() -> None:
    """Short words in any case; anything longer is neither."""
    assert all(map(means_yes, ("yes", " OK ", "y", "always", "Yes.")))
    assert means_always("ALWAYS")
    assert not means_always("yes")
    assert all(map(means_no, ("no", "No!", "/deny")))
    assert not any(check("yes, but later") for check in (means_yes, means_always, means_no))


class Asking(Probe):
    """A tool that asks, and changes nothing."""

    question = ""

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        return ToolResult(await context.ask(self.question, []) or "nobody answered")


@pytest.mark.parametrize(("later", "is_new"), [("Which colour?", False), ("Delete everything?", True)])
async def test_an_answer_is_none_to_another_question(world: World, later: str, is_new: bool) -> None:
    """A call that is made again after a restart may ask something else in the same place: the user has not seen it."""
    tool = Asking("look", "read_only")
    tool.question = "Which colour?"
    world.tools = [tool]
    world.provider = ScriptedProvider(reply("", "look"), reply("done"))
    control = TurnControl(trio.CancelScope())
    begun = await world.begin(await world.accept())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run, begun, control)
        first = await asked(world)
        control.stop("shutdown")
    tool.question = later
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run, await world.begin(begun.event.id))
        again = await asked(world)
        assert (again.id != first.id, again.text) == (is_new, later)
        assert len(await world.store.open_questions()) == 1
        await world.questions.answer(again.id, "blue")
    assert tool_texts(world.provider.requests[-1]) == ["blue"]

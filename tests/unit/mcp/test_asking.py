"""Who is asked, and what becomes of the call's time and of the questions meanwhile; in virtual time."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

from hermesd.mcp.asking import MAX_QUESTIONS, CallsUnderWay, on_behalf_of
from tests.unit.mcp.conftest import MakeContext, Person


def test_the_only_call_is_meant_and_of_several_none(scope_of: MakeContext) -> None:
    """A question that could reach the wrong person is not put."""
    calls = CallsUnderWay()
    assert calls.concerned() is None
    with on_behalf_of(scope_of(Person())), calls.enter() as one:
        assert calls.concerned() is one
    assert calls.concerned() is None


async def test_of_several_calls_the_one_whose_task_asks_is_meant(scope_of: MakeContext) -> None:
    """As with HTTP, where a request of the server is handled in the context of the call it belongs to."""
    calls = CallsUnderWay()
    found: dict[str, object] = {}

    async def caller(name: str) -> None:
        with on_behalf_of(scope_of(Person(), session_id=name)), calls.enter() as call:
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(handler, name)
            found[f"{name} is"] = call
            await everyone.wait()

    async def handler(name: str) -> None:
        found[name] = calls.concerned()
        await trio.lowlevel.checkpoint()

    everyone = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller, "a")
        nursery.start_soon(caller, "b")
        await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert calls.concerned() is None
        everyone.set()
    assert found["a"] is found["a is"]
    assert found["b"] is found["b is"]


async def test_the_time_of_a_call_stands_still_while_a_person_thinks(
    scope_of: MakeContext, autojump_clock: MockClock
) -> None:
    """Ten minutes of thinking do not count; the rest of the call's time does."""
    calls, person = CallsUnderWay(), Person(["blue"], thinks_s=600)
    with on_behalf_of(scope_of(person)), calls.enter() as call, trio.move_on_after(10) as call.clock:
        await trio.sleep(4)
        with call.asking():
            assert await call.ask("which?", []) == "blue"
        assert call.clock.deadline == pytest.approx(trio.current_time() + 6)
        await trio.sleep(5.9)
        began = trio.current_time()
        await trio.sleep(math.inf)
    assert call.clock.cancelled_caught
    assert trio.current_time() - began < 1


async def test_the_end_of_a_call_ends_and_takes_back_its_question(
    scope_of: MakeContext, autojump_clock: MockClock
) -> None:
    """What was asked is of no use any more; nobody's next message may be taken for the answer."""
    calls, person = CallsUnderWay(), Person(thinks_s=math.inf)
    asked: list[str | None] = []
    async with trio.open_nursery() as nursery:
        with on_behalf_of(scope_of(person)), calls.enter() as call:

            async def handler() -> None:
                with call.asking():
                    asked.append(await call.ask("which?", []))
                asked.append("over")

            nursery.start_soon(handler)
            await trio.testing.wait_all_tasks_blocked()
    assert asked == ["over"]
    assert person.withdrawn == 1


async def test_an_interrupted_turn_keeps_its_question(scope_of: MakeContext, autojump_clock: MockClock) -> None:
    """Before a shutdown the turn is suspended and takes the question up again; otherwise its end closes it."""
    calls, person = CallsUnderWay(), Person(thinks_s=math.inf)
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as turn, on_behalf_of(scope_of(person)), calls.enter() as call:

            async def handler() -> None:
                with call.asking():
                    await call.ask("which?", [])

            nursery.start_soon(handler)
            await trio.testing.wait_all_tasks_blocked()
            turn.cancel()
            await trio.sleep_forever()
    assert person.asked == ["which?"]
    assert person.withdrawn == 0


async def test_a_cancelled_request_takes_its_question_back(scope_of: MakeContext, autojump_clock: MockClock) -> None:
    """The server may say that it does not need the answer any more, while its call goes on."""
    calls, person = CallsUnderWay(), Person(thinks_s=math.inf)
    with on_behalf_of(scope_of(person)), calls.enter() as call:
        with trio.move_on_after(1), call.asking():
            await call.ask("which?", [])
        assert person.withdrawn == 1
        assert calls.concerned() is call


async def test_nobody_is_asked_where_nobody_is(scope_of: MakeContext) -> None:
    """Neither of a webhook's turn nor of a call that no turn made."""
    calls, person = CallsUnderWay(), Person(["yes"])
    with on_behalf_of(scope_of(person, attended=False)), calls.enter() as call:
        assert await call.ask("which?", []) is None
    with calls.enter() as call:
        assert not call.attended
        assert await call.ask("which?", []) is None
    assert person.asked == []


async def test_a_server_that_goes_on_asking_gets_no_more_answers(scope_of: MakeContext) -> None:
    """Nobody is asked again in a call after silence, nor more than a hundred times."""
    calls, silent, patient = CallsUnderWay(), Person([None, "late"]), Person(["x"] * 200)
    with on_behalf_of(scope_of(silent)), calls.enter() as call:
        assert [await call.ask("which?", []) for _ in range(3)] == [None] * 3
    with on_behalf_of(scope_of(patient)), calls.enter() as call:
        assert [await call.ask("which?", []) for _ in range(150)].count("x") == MAX_QUESTIONS
    assert (len(silent.asked), len(patient.asked)) == (1, MAX_QUESTIONS)

"""The router on a real store: order, bounds, drain, commands, questions."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from hermesd.config.schema import AgentConfig
from hermesd.gateway.router import Router
from hermesd.home import Home
from hermesd.providers.base import ProviderError
from hermesd.store.sqlite import SqliteStore
from tests.unit.turns.conftest import Probe, ScriptedProvider, World, reply
from tests.waiting import PATIENCE_S, until


class Routed(World):
    """A world with routers, whose model answers each message with ``re: <text>`` once its gate is open."""

    def __init__(self, store: SqliteStore, home: Home) -> None:
        super().__init__(store, home)
        self.limiter = trio.CapacityLimiter(16)
        self.gate = trio.Event()
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0
        self.provider = Echo(self)  # type: ignore[assignment]  # only complete() is called

    def router(self) -> Router:
        return Router("default", store=self.store, bench=self.bench, limiter=self.limiter)

    async def until(self, what: str, count: int = 1) -> None:
        """Wait for so many inbox rows in a state."""
        await until(lambda: self.store.inbox(states=(what,)), lambda rows: len(rows) >= count)

    async def until_asked(self, count: int) -> None:
        await until(lambda: len(self.asked) >= count)

    async def command(self, name: str, *, delivery: str, args: str = "") -> int:
        return await self.accept(f"/{name}", delivery=delivery, meta={"command": name, "args": args})


class Echo:
    """A model that waits for its world's gate."""

    name = "echo"

    def __init__(self, world: Routed) -> None:
        self.world = world
        self.closed = False

    async def complete(self, request, *, on_delta):
        world = self.world
        world.asked.append(request.messages[-1].text)
        world.at_once += 1
        world.most_at_once = max(world.most_at_once, world.at_once)
        try:
            await world.gate.wait()
            await trio.lowlevel.checkpoint()
        finally:
            world.at_once -= 1
        return reply(f"re: {request.messages[-1].text}")

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
async def world(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[Routed]:
    home = Home(tmp_path / "home")
    home.create()
    store = SqliteStore.open(home.state_path)
    await nursery.start(lambda task_status: store.run(task_status=task_status))
    yield Routed(store, home)
    store.close()


@contextlib.asynccontextmanager
async def running(world: Routed) -> AsyncIterator[Router]:
    """A router at work; cancelled at the end."""
    router = world.router()
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: router.run(task_status=task_status))
        yield router
        nursery.cancel_scope.cancel()


def put_off(router: Router) -> bool:
    """Whether every conversation waits for the instant of its message, and a reason to try at once would be heard."""
    return all(lane.wake.statistics().tasks_waiting for lane in router._lanes.values()) and bool(router._lanes)


async def test_messages_of_a_session_are_answered_in_order_and_sessions_side_by_side(world: Routed) -> None:
    """One turn at a time in a session; lanes are gone when there is nothing left to do."""
    world.agent = AgentConfig(busy="queue")
    async with running(world) as router:
        for number in range(3):
            for key in ("a", "b"):
                await world.accept(f"{key}{number}", delivery=f"{key}{number}", key=key)
        await world.until_asked(2)
        assert sorted(world.asked) == ["a0", "b0"]
        assert router.running == 2
        world.gate.set()
        await world.until("done", 6)
        assert world.most_at_once == 2
        assert [text for text in world.asked if text[0] == "a"] == ["a0", "a1", "a2"]
        await until(lambda: not router._lanes)
        assert router._taken == set()


async def test_all_profiles_together_run_no_more_turns_than_allowed(world: Routed) -> None:
    """The bound is over the limiter that all routers share."""
    world.limiter.total_tokens = 2
    async with running(world):
        for number in range(5):
            await world.accept(delivery=str(number), key=str(number))
        await world.until_asked(2)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert len(world.asked) == 2
        world.gate.set()
        await world.until("done", 5)
    assert world.most_at_once == 2


async def test_a_new_message_redirects_the_turn_of_the_same_person(world: Routed) -> None:
    """busy: interrupt, the default; the interrupted message is remembered."""
    async with running(world):
        await world.accept("first", delivery="1")
        await world.until_asked(1)
        world.gate.set()
        await world.accept("second", delivery="2")
        await world.until("done", 2)
    assert [row.state for row in reversed(await world.store.inbox())] == ["done", "done"]
    assert ("assistant", "re: second") in await world.remembered()


async def test_a_second_delivery_of_a_webhook_does_not_end_the_first(world: Routed) -> None:
    """What nobody watches is queued: every accepted event gets its turn."""
    async with running(world):
        for number in (1, 2):
            await world.accept(f"push {number}", delivery=str(number), source="webhook:ci", untrusted=True)
        await world.until_asked(1)
        await trio.testing.wait_all_tasks_blocked(0.02)
        world.gate.set()
        await world.until("done", 2)
    turns = [await world.store.turn_of(row.id) for row in await world.store.inbox()]
    assert [turn.state for turn in turns if turn] == ["done", "done"]


async def test_a_message_during_the_drain_stays_pending_and_the_running_turn_ends(world: Routed) -> None:
    """drain returns when the turn is through; the next router takes the message up."""
    async with running(world) as router:
        await world.accept("first", delivery="1")
        await world.until_asked(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.drain)
            await trio.testing.wait_all_tasks_blocked(0.01)
            late = await world.accept("late", delivery="2")
            await trio.testing.wait_all_tasks_blocked(0.01)
            world.gate.set()
        assert (await world.store.inbox_row(late)).state == "pending"
    async with running(world):
        await world.until("done", 2)
    assert world.asked == ["first", "late"]


async def test_turns_past_the_drain_deadline_are_put_back(world: Routed) -> None:
    """As the supervisor does it: drain is cancelled, then the service."""
    async with running(world) as router:
        await world.accept("first", delivery="1")
        await world.until_asked(1)
        with trio.move_on_after(0.01):
            await router.drain()
    [row] = await world.store.inbox()
    assert (row.state, (await world.store.turn_of(row.id)).state) == ("pending", "suspended")
    world.gate.set()
    async with running(world):
        await world.until("done")
    assert (await world.store.turn_of(row.id)).crashes == 0


async def test_a_drain_does_not_wait_for_a_person(world: Routed) -> None:
    """A turn that waits for an answer is put back at once, with its question open."""
    world.provider = ScriptedProvider(reply("", ("clarify", '{"question":"which?"}')), reply("done"))
    async with running(world) as router:
        await world.accept(delivery="1")
        await until(lambda: any(world.questions.is_waiting(lane.turn_id) for lane in router._lanes.values()))
        with trio.fail_after(PATIENCE_S):
            await router.drain()
    assert len(await world.store.open_questions()) == 1
    assert (await world.store.inbox())[0].state == "pending"


async def test_a_turn_that_asks_during_the_drain_is_put_back_as_well(world: Routed) -> None:
    """The question was not there when the drain began; nobody waits for its answer, and the next router asks on."""
    ask = ScriptedProvider(reply("", ("clarify", '{"question":"which?"}')))
    gate = world.gate

    class Late:
        name = "late"

        async def complete(self, request, *, on_delta):
            world.asked.append("asked")
            await gate.wait()
            return await ask.complete(request, on_delta=on_delta)

    world.provider = Late()  # type: ignore[assignment]  # only complete() is called
    async with running(world) as router:
        await world.accept(delivery="1")
        await world.until_asked(1)
        with trio.fail_after(PATIENCE_S):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(router.drain)
                await until(lambda: router._draining)
                gate.set()
    assert len(await world.store.open_questions()) == 1
    assert (await world.store.inbox())[0].state == "pending"


async def test_a_plain_message_answers_the_open_question_of_its_own_session_only(world: Routed) -> None:
    """It is no turn of its own, and wakes the turn that asked."""
    world.provider = ScriptedProvider(reply("", ("clarify", '{"question":"which?"}')), reply("done"))
    async with running(world):
        await world.accept("do it", delivery="1")
        await until(world.store.open_questions)
        await world.accept("blue", delivery="2")
        await world.until("done", 2)
    assert [m.text for m in world.provider.requests[1].messages if m.role == "tool"] == ["blue"]
    assert [text for text in await world.outgoing() if "which" not in text] == ["done"]


async def test_a_deferred_message_is_tried_at_its_instant_and_later_ones_wait_behind_it(
    world: Routed, autojump_clock: trio.testing.MockClock
) -> None:
    """Order within the session is kept; a new message is a reason to try at once."""
    autojump_clock.autojump_threshold = 0.5  # the store's thread works in real time
    away = ProviderError("away", kind="unavailable", retry_after_s=300)
    tried_again = trio.Event()

    async def trying_again() -> None:
        tried_again.set()

    world.provider = ScriptedProvider(away, trying_again, away, reply("one"), reply("two"))
    async with running(world) as router:
        begun = trio.current_time()
        await world.accept("first", delivery="1")
        await tried_again.wait()
        assert trio.current_time() - begun >= 299 - 5
        autojump_clock.autojump_threshold = math.inf
        await until(lambda: put_off(router))
        await world.accept("second", delivery="2")
        await world.until("done", 2)
    assert (await world.outgoing())[-2:] == ["one", "two"]


async def test_new_settings_try_deferred_messages_at_once(world: Routed) -> None:
    """retry_now: another model may answer."""
    away = ProviderError("away", kind="unavailable", retry_after_s=3600)
    world.provider = ScriptedProvider(away, reply("here"))
    async with running(world) as router:
        await world.accept(delivery="1")
        await until(lambda: put_off(router))
        router.retry_now()
        await world.until("done")


async def test_settings_that_are_new_while_a_message_is_tried_try_it_again(world: Routed) -> None:
    """The try that was under way still had the old ones, and was put off for an hour."""
    away = ProviderError("away", kind="unavailable", retry_after_s=3600)
    answers = ScriptedProvider(away, reply("here"))

    class Changing:
        name = "changing"

        async def complete(self, request, *, on_delta):
            if not world.asked:
                router.retry_now()
            world.asked.append("asked")
            return await answers.complete(request, on_delta=on_delta)

    world.provider = Changing()  # type: ignore[assignment]  # only complete() is called
    async with running(world) as router:
        await world.accept(delivery="1")
        await world.until("done")


async def test_a_dropped_deferred_message_does_not_hold_up_the_next(world: Routed) -> None:
    """hermesctl inbox drop ends the waiting at once."""
    world.provider = ScriptedProvider(ProviderError("away", kind="unavailable", retry_after_s=3600), reply("two"))
    async with running(world) as router:
        first = await world.accept(delivery="1")
        await until(lambda: put_off(router))
        await world.store.resolve_inbox(first, action="drop")
        await until(lambda: not router._lanes)
    assert (await world.store.inbox_row(first)).state == "dropped"


async def test_a_row_that_vanishes_with_its_profile_does_not_end_the_router(world: Routed) -> None:
    """Deleted between the event and the look."""
    async with running(world):
        world.gate.set()
        inbox_row = world.store.inbox_row
        looked = trio.Event()

        async def gone(inbox_id: int):
            await world.store.delete_profile("default")
            looked.set()
            return await inbox_row(inbox_id)

        world.store.inbox_row = gone  # type: ignore[method-assign]  # put back below
        await world.accept(delivery="1")
        with trio.fail_after(PATIENCE_S):
            await looked.wait()
        world.store.inbox_row = inbox_row  # type: ignore[method-assign]  # as it was
        await world.accept(delivery="2")
        await world.until("done")


async def test_stop_ends_the_turn_and_drops_what_waits_and_says_so(world: Routed) -> None:
    """The stopped turn answers for itself; the waiting message is told to be dropped."""
    world.agent = AgentConfig(busy="queue")
    async with running(world) as router:
        await world.accept("one", delivery="1")
        await world.until_asked(1)
        await world.accept("two", delivery="2")
        await until(lambda: any(lane.waiting for lane in router._lanes.values()))
        await world.command("stop", delivery="3")
        await world.until("done", 2)
        await world.until("dropped")
    assert sorted(await world.outgoing()) == ["1 waiting message dropped.", "Stopped."]
    assert world.asked == ["one"]


async def test_stop_when_nothing_runs_says_so(world: Routed) -> None:
    async with running(world):
        await world.command("stop", delivery="1")
        await world.until("done")
    assert await world.outgoing() == ["There is nothing to stop."]


async def test_retry_asks_the_message_that_was_just_stopped_again(world: Routed) -> None:
    """Not the one before it: the stopped turn is recorded first."""
    async with running(world):
        world.gate.set()
        await world.accept("old", delivery="1")
        await world.until("done")
        world.gate = trio.Event()
        await world.accept("newest", delivery="2")
        await world.until_asked(2)
        await world.command("retry", delivery="3")
        await world.until_asked(3)
        world.gate.set()
        await world.until("done", 4)
    assert world.asked == ["old", "newest", "newest"]
    assert (await world.outgoing())[-1] == "re: newest"


async def test_new_binds_the_chat_to_a_fresh_session(world: Routed) -> None:
    """The model is shown nothing of what was said before."""
    world.gate.set()
    async with running(world):
        await world.accept("before", delivery="1")
        await world.until("done")
        await world.command("new", delivery="2")
        await world.until("done", 2)
        await world.accept("after", delivery="3")
        await world.until("done", 3)
    assert await world.remembered() == [("user", "after"), ("assistant", "re: after")]


async def test_a_command_that_breaks_is_told_and_others_go_on(world: Routed, caplog: pytest.LogCaptureFixture) -> None:
    """A bug in /status is a sentence and a traceback, not the end of the turns."""
    sessions = world.store.session

    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("boom")

    async with running(world):
        await world.accept("one", delivery="1")
        await world.until_asked(1)
        world.store.session = broken  # type: ignore[method-assign,assignment]  # put back below
        await world.command("status", delivery="2")
        await world.until("done")
        world.store.session = sessions  # type: ignore[method-assign]  # as it was
        world.gate.set()
        await world.until("done", 2)
    assert "/status did not work. Why is in the daemon's log." in await world.outgoing()
    assert "boom" in caplog.text


@pytest.mark.parametrize(("command", "runs"), [("approve", True), ("deny", False)])
async def test_approve_and_deny_decide_about_the_call(world: Routed, command: str, runs: bool) -> None:
    """Past the queue, while the turn waits."""
    from hermesd.config.schema import PolicyConfig

    world.policy = PolicyConfig(unsafe="ask")
    world.tools = [Probe("act", "unsafe")]
    world.provider = ScriptedProvider(reply("", "act"), reply("done"))
    async with running(world):
        await world.accept("go", delivery="1")
        await until(world.store.open_questions)
        await world.command(command, delivery="2")
        await world.until("done", 2)
    assert bool(world.tools[0].log) is runs

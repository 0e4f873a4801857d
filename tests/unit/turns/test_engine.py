"""The turn engine on a real store: what it runs, what it remembers, how it ends."""

from __future__ import annotations

import time

import msgspec
import pytest
import trio

from hermesd.config.schema import AgentConfig
from hermesd.providers.base import ModelReply, ProviderError, Usage
from hermesd.store.records import StepRow
from hermesd.tools.base import ToolResult
from hermesd.turns.engine import TurnControl
from tests.unit.turns.conftest import Probe, ScriptedProvider, World, reply
from tests.waiting import until


def tool_texts(request: object) -> list[str]:
    return [item.text for item in request.messages if item.role == "tool"]  # type: ignore[attr-defined]  # tool messages have text


async def test_an_answer_is_one_commit_of_messages_reply_and_acknowledgement(world: World) -> None:
    """The inbox row is done, the reply queued under the turn's key, both messages remembered."""
    begun = await world.begin(await world.accept("hi"))
    assert (await world.run(begun)).state == "done"
    assert (await world.store.inbox_row(begun.event.id)).state == "done"
    assert (await world.store.outbox_by_key(f"turn:{begun.turn.id}:reply")).text == "hello"
    assert await world.remembered() == [("user", "hi"), ("assistant", "hello")]
    assert [update.kind for update in world.updates] == ["started", "text", "finished"]


async def test_calls_that_only_read_run_side_by_side_and_their_results_keep_the_order_of_the_calls(
    world: World,
) -> None:
    """The first call ends last; the model still sees its result first."""
    log: list[str] = []
    slow, quick = Probe("slow", gate=trio.Event(), log=log), Probe("quick", log=log)
    slow.result, quick.result = ToolResult("slow said"), ToolResult("quick said")
    world.tools = [slow, quick]
    world.provider = ScriptedProvider(reply("", "slow", "quick"), reply("done"))
    begun = await world.begin(await world.accept())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run, begun)
        await until(lambda: "quick-" in log)
        assert "slow-" not in log
        slow.gate.set()
    assert tool_texts(world.provider.requests[1]) == ["slow said", "quick said"]


async def test_calls_that_change_something_run_one_after_another(world: World) -> None:
    """One unsafe call among them is enough."""
    log: list[str] = []
    world.tools = [Probe("look", log=log), Probe("act", "unsafe", log=log)]
    world.provider = ScriptedProvider(reply("", "look", "act", "look"), reply("done"))
    await world.say()
    assert log == ["look+", "look-", "act+", "act-", "look+", "look-"]


async def test_call_ids_are_made_distinct_within_a_turn(world: World) -> None:
    """An endpoint that counts from zero in every answer does not confuse the journal."""
    world.tools = [Probe("look")]
    world.provider = ScriptedProvider(reply("", "look"), reply("", ("look", '{"n":2}')), reply("done"))
    begun = await world.begin(await world.accept())
    await world.run(begun)
    keys = [step.key for step in await world.store.steps(begun.turn.id) if step.kind == "tool"]
    assert len(set(keys)) == 2
    calls = [call.id for message in world.provider.requests[2].messages for call in message.tool_calls]
    assert calls == keys


@pytest.mark.parametrize(
    ("state", "effect", "runs"),
    [
        ("intent", "unsafe", 1),
        ("intent", "read_only", 1),
        ("started", "idempotent", 1),
        ("done", "unsafe", 0),
    ],
)
async def test_a_turn_cut_by_a_crash_goes_on_where_its_journal_stands(
    world: World, state: str, effect: str, runs: int
) -> None:
    """What has a result is not run again; what certainly did not run, or may be repeated, is."""
    probe = Probe("act", effect, result=ToolResult("new"))
    world.tools = [probe]
    world.provider = ScriptedProvider(reply("done"))
    begun = await world.begin(await world.accept())
    await journal_a_call(world, begun.turn.id, state=state, effect=effect)
    again = await world.begin(begun.event.id)
    assert again.turn.crashes == 1
    assert (await world.run(again)).state == "done"
    assert len(probe.log) == 2 * runs
    assert tool_texts(world.provider.requests[0]) == ["new" if runs else "old"]
    assert (await world.store.turn(begun.turn.id)).input_tokens == 5, "what was paid before the crash counts"


async def journal_a_call(world: World, turn_id: str, *, state: str, effect: str) -> None:
    asked = msgspec.structs.replace(reply("", "act"), usage=Usage(input_tokens=5))
    encode = msgspec.json.encode
    rows = [
        StepRow(turn_id=turn_id, seq=0, kind="model", name="m", state="done", result=encode(asked).decode()),
        StepRow(
            turn_id=turn_id,
            seq=1,
            kind="tool",
            name="act",
            state=state,
            effect=effect,
            key="c0",
            request="{}",
            result=encode(ToolResult("old")).decode() if state == "done" else "",
        ),
    ]
    await world.store.journal(rows)


async def test_an_unsafe_call_of_unknown_outcome_parks_the_turn_and_a_person_decides(world: World) -> None:
    """resume takes it as done with the note, retry begins afresh, drop ends it; nothing is re-run unasked."""
    probe = Probe("act", "unsafe")
    world.tools = [probe]
    world.provider = ScriptedProvider(reply("done"))
    begun = await world.begin(await world.accept())
    await journal_a_call(world, begun.turn.id, state="started", effect="unsafe")
    assert (await world.run(await world.begin(begun.event.id))).state == "parked"
    row = await world.store.inbox_row(begun.event.id)
    assert (row.state, probe.log) == ("parked", [])
    assert f"inbox show {row.id}" in (await world.outgoing())[0]

    await world.store.resolve_inbox(row.id, action="resume", note="it was sent")
    assert (await world.run(await world.begin(row.id))).state == "done"
    assert tool_texts(world.provider.requests[0]) == ["it was sent"]
    assert probe.log == []
    assert [role for role, _ in await world.remembered()] == ["user", "assistant", "tool", "assistant"]


async def test_retry_of_a_parked_turn_begins_a_fresh_one(world: World) -> None:
    """The old turn stays parked in the books; the new one asks the model anew."""
    begun = await world.begin(await world.accept())
    await journal_a_call(world, begun.turn.id, state="started", effect="unsafe")
    await world.run(await world.begin(begun.event.id))
    await world.store.resolve_inbox(begun.event.id, action="retry")
    fresh = await world.begin(begun.event.id)
    assert fresh.turn.id != begun.turn.id
    assert (await world.run(fresh)).state == "done"


async def test_a_turn_that_has_killed_the_daemon_twice_is_parked(world: World) -> None:
    """And resume forgives it, so that it is tried again."""
    inbox_id = await world.accept()
    for _ in range(3):
        begun = await world.begin(inbox_id)
    assert begun.turn.crashes == 2
    assert (await world.run(begun)).state == "parked"
    assert world.provider.requests == []
    await world.store.resolve_inbox(inbox_id, action="resume")
    assert (await world.run(await world.begin(inbox_id))).state == "done"


async def test_an_overflow_drops_the_older_half_of_the_history_and_tries_again(world: World) -> None:
    """Until there is nothing left to drop; then the user is told."""
    for number in range(4):
        await world.say(f"q{number}", delivery=str(number))
    overflow = ProviderError("too long", kind="overflow")
    world.provider = ScriptedProvider(overflow, overflow, reply("short enough"))
    assert (await world.say("last", delivery="x")).state == "done"
    lengths = [len(request.messages) for request in world.provider.requests]
    assert lengths[0] > lengths[1] > lengths[2]
    world.provider = ScriptedProvider(overflow)
    assert (await world.say("again", delivery="y")).state == "failed"
    assert "too long" in (await world.outgoing())[-1]


async def test_the_same_call_again_and_again_ends_the_turn(world: World) -> None:
    """Four times in a row is a loop; the user is told which call."""
    probe = Probe("look")
    world.tools = [probe]
    world.provider = ScriptedProvider(reply("", "look"))
    assert (await world.say()).state == "failed"
    assert probe.log == ["look+", "look-"] * 3
    assert "look {}" in (await world.outgoing())[0]


async def test_max_turns_bounds_the_model_calls_over_restarts_too(world: World) -> None:
    """A turn that was cut does not get a fresh allowance."""
    world.tools = [Probe("look")]
    world.agent = AgentConfig(max_turns=2)
    world.provider = ScriptedProvider(*(reply("", ("look", f'{{"n":{n}}}')) for n in range(9)))
    begun = await world.begin(await world.accept())
    await journal_a_call(world, begun.turn.id, state="done", effect="read_only")
    assert (await world.run(await world.begin(begun.event.id))).state == "failed"
    assert len(world.provider.requests) == 1
    assert "agent.max_turns" in (await world.outgoing())[0]


async def test_a_budget_of_tokens_ends_the_turn_before_the_next_request(world: World) -> None:
    """What was spent before a restart counts: 5 of 45, and the first request after it takes the other 40."""
    world.tools = [Probe("look")]
    world.agent = AgentConfig(token_budget=45)
    asks = (reply("", ("look", f'{{"n":{n}}}')) for n in range(9))
    usage = Usage(input_tokens=35, output_tokens=5)
    world.provider = ScriptedProvider(*(msgspec.structs.replace(ask, usage=usage) for ask in asks))
    begun = await world.begin(await world.accept())
    await journal_a_call(world, begun.turn.id, state="done", effect="read_only")
    assert (await world.run(await world.begin(begun.event.id))).state == "failed"
    assert len(world.provider.requests) == 1
    assert "45 tokens of 45" in (await world.outgoing())[0]


async def test_a_turn_may_take_only_so_long(world: World, autojump_clock: trio.testing.MockClock) -> None:
    """A model that never answers ends as a sentence to the user."""
    autojump_clock.autojump_threshold = 0.05  # the store's thread works in real time
    world.agent = AgentConfig(turn_timeout_s=30)
    world.provider = ScriptedProvider(trio.sleep_forever)
    assert (await world.say()).state == "failed"
    assert "30 s" in (await world.outgoing())[0]


@pytest.mark.parametrize(("wish", "least"), [(0.0, 4.0), (90.0, 89.0)])
async def test_a_model_that_is_away_puts_the_turn_off_and_is_told_once(world: World, wish: float, least: float) -> None:
    """The endpoint's own wish is honoured; every attempt waits longer, at most a minute."""
    world.provider = ScriptedProvider(ProviderError("no route", kind="unavailable", retry_after_s=wish))
    inbox_id = await world.accept()
    outcome = await world.run(await world.begin(inbox_id))
    assert outcome.state == "deferred"
    assert outcome.not_before - time.time() >= least
    row = await world.store.inbox_row(inbox_id)
    assert (row.state, row.not_before) == ("pending", outcome.not_before)
    for _ in range(6):
        outcome = await world.run(await world.begin(inbox_id))
    assert 59 <= outcome.not_before - time.time() <= max(60, wish)
    assert len(await world.outgoing()) == 1
    world.provider = ScriptedProvider(reply("at last"))
    assert (await world.run(await world.begin(inbox_id))).state == "done"
    assert (await world.outgoing())[-1] == "at last"


async def test_a_refused_key_is_told_with_what_to_do(world: World) -> None:
    """The turn fails at once, and /retry will find the message."""
    world.provider = ScriptedProvider(ProviderError("the key is refused", kind="auth", next_step="Put it into .env"))
    assert (await world.say()).state == "failed"
    assert await world.outgoing() == ["The model cannot answer: the key is refused. Put it into .env."]


@pytest.mark.parametrize(("stop", "said"), [("length", "cut off"), ("refusal", "refused")])
async def test_an_answer_that_is_not_whole_says_so(world: World, stop: str, said: str) -> None:
    """The limit of output, or a refusal without words, is not passed off as an answer."""
    text = "half an ans" if stop == "length" else ""
    world.provider = ScriptedProvider(ModelReply(text=text, stop=stop))
    await world.say()
    assert said in (await world.outgoing())[0]
    assert (await world.outgoing())[0].startswith(text)


async def test_a_bug_in_a_turn_is_told_and_recorded(world: World) -> None:
    """Neither swallowed nor fatal."""
    world.provider = ScriptedProvider(RuntimeError("boom"))
    begun = await world.begin(await world.accept())
    assert (await world.run(begun)).state == "failed"
    assert "boom" in (await world.store.turn(begun.turn.id)).error
    assert "log" in (await world.outgoing())[0]


# -- being stopped -----------------------------------------------------------------------------------------------------


async def stop_at(world: World, probe: Probe, cause: str) -> str:
    """Run a turn, stop it while the probe runs; the outcome's state."""
    control = TurnControl(trio.CancelScope())
    begun = await world.begin(await world.accept())
    states: list[str] = []

    async def run() -> None:
        states.append((await world.run(begun, control)).state)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await probe.begun.wait()
        control.stop(cause)  # type: ignore[arg-type]  # a name of the table above
    return states[0]


@pytest.mark.parametrize(("cause", "told"), [("user", ["Stopped."]), ("redirect", [])])
async def test_a_stopped_turn_keeps_what_was_done_and_says_what_is_not_known(
    world: World, cause: str, told: list[str]
) -> None:
    """One call done, one cut, one never begun: the next turn's model is told exactly that."""
    done, cut = Probe("done", "idempotent", result=ToolResult("written")), Probe("cut", "unsafe", trio.Event())
    world.tools = [done, cut, Probe("never", "unsafe")]
    world.provider = ScriptedProvider(reply("", "done", "cut", "never"), reply("next"))
    assert await stop_at(world, cut, cause) == "cancelled"
    assert await world.outgoing() == told
    texts = [text for role, text in await world.remembered() if role == "tool"]
    assert texts[0] == "written"
    assert "not known" in texts[1]
    assert "before this call" in texts[2]
    row = (await world.store.inbox())[0]
    steps = await world.store.steps(row.turn_id)
    assert [step.state for step in steps if step.kind == "tool"] == ["done", "unknown", "intent"]
    await world.say("and now?", delivery="2")
    assert tool_texts(world.provider.requests[-1]) == texts


async def test_a_planned_stop_suspends_and_the_next_start_goes_on(world: World) -> None:
    """A safe call under way is run again; it is no crash."""
    look = Probe("look", gate=trio.Event())
    world.tools = [look]
    world.provider = ScriptedProvider(reply("", "look"), reply("done"))
    assert await stop_at(world, look, "shutdown") == "suspended"
    look.gate.set()
    row = (await world.store.inbox())[0]
    again = await world.begin(row.id)
    assert again.turn.crashes == 0
    assert (await world.run(again)).state == "done"
    assert look.log == ["look+", "look+", "look-"]


async def test_a_planned_stop_parks_a_turn_whose_unsafe_call_was_under_way(world: World) -> None:
    """It is never run again unasked."""
    act = Probe("act", "unsafe", trio.Event())
    world.tools = [act]
    world.provider = ScriptedProvider(reply("", "act"))
    assert await stop_at(world, act, "shutdown") == "parked"
    row = (await world.store.inbox())[0]
    assert row.state == "parked"
    assert (await world.store.steps(row.turn_id))[-1].state == "unknown"


@pytest.mark.parametrize("count", [1, 3])
async def test_a_turn_cancelled_from_outside_is_suspended(world: World, count: int) -> None:
    """Also while calls run side by side, whose cancellations arrive as a group."""
    look = Probe("look", gate=trio.Event())
    world.tools = [look]
    world.provider = ScriptedProvider(reply("", *["look"] * count))
    begun = await world.begin(await world.accept())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.run, begun)
        await look.begun.wait()
        nursery.cancel_scope.cancel()
    assert (await world.store.turn(begun.turn.id)).state == "suspended"


async def test_a_stop_that_comes_while_the_answer_is_being_committed_neither_loses_nor_doubles_it(
    world: World,
) -> None:
    """Whichever wins, there is one reply and one ending."""
    finish = world.store.finish_turn
    for number in range(20):
        control = TurnControl(trio.CancelScope())
        begun = await world.begin(await world.accept(delivery=str(number)))

        async def and_stop(*args: object, control: TurnControl = control, **more: object) -> object:
            control.stop("user")
            return await finish(*args, **more)  # type: ignore[arg-type]  # passed on

        world.store.finish_turn = and_stop  # type: ignore[method-assign]  # put back below
        outcome = await world.run(begun, control)
        world.store.finish_turn = finish  # type: ignore[method-assign]  # as it was
        assert outcome.state == "done"
    assert await world.outgoing() == ["hello"] * 20

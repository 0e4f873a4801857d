"""chat.*: a message, its turn as it happens, its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from hermesd.store.records import Address, NewOutbox
from hermesd.turns.live import Update
from tests.servers.panel import Panel
from tests.servers.served import Served, Wire
from tests.waiting import until


class Turns:
    """Carries turns step by step, with the store's own methods, as the engine does."""

    def __init__(self, panel: Panel) -> None:
        self.panel, self.store = panel, panel.store

    async def accepted(self) -> int:
        """The newest message's id, once there is one."""
        return (await until(lambda: self.store.inbox(limit=1)))[0].id

    async def begin(self, inbox_id: int) -> Any:
        row = await self.store.inbox_row(inbox_id)
        session = await self.store.open_session(row.profile, row.session_key, source="rpc")
        begun = await self.store.begin_turn(inbox_id, session_id=row.meta.get("session") or session.id)
        return begun.turn

    def say(self, turn: Any, kind: Any, **more: Any) -> None:
        self.panel.live.publish(
            Update(
                kind=kind,
                profile=turn.profile,
                session_id=turn.session_id,
                turn_id=turn.id,
                inbox_id=turn.inbox_id,
                **more,
            )
        )

    async def finish(self, turn: Any, text: str, *, state: Any = "done", inbox_state: Any = "done") -> None:
        reply = NewOutbox(
            profile=turn.profile,
            address=Address(platform="rpc"),
            text=text,
            idempotency_key=f"turn:{turn.id}:reply",
            turn_id=turn.id,
        )
        await self.store.finish_turn(
            turn.id, state=state, inbox_state=inbox_state, outbox=[reply], model="m", input_tokens=3, output_tokens=4
        )

    async def sent(self, turn: Any) -> None:
        """Wait until the reply is marked sent."""
        await until(lambda: self.store.outbox_by_key(f"turn:{turn.id}:reply"), lambda row: row.state == "sent")


@pytest.fixture
async def turns(served: Served) -> AsyncIterator[Turns]:
    return Turns(served.panel)


async def until_result(wire: Wire) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The updates before the answer, and the answer."""
    updates = []
    while "method" in (message := await wire.message()):
        assert message["method"] == "chat.update"
        updates.append(message["params"])
    return updates, message


async def test_a_message_is_accepted_then_followed_then_answered(served: Served, wire: Wire, turns: Turns) -> None:
    """Updates carry the request's id; the reply is marked sent once it is out."""
    asked = await wire.send("chat.send", {"text": "hello", "delivery_id": "d1"})
    accepted = (await wire.message())["params"]
    assert accepted == {"id": asked, "kind": "accepted", "name": "d1"}
    row = await turns.store.inbox_row(await turns.accepted())
    uid = served.audited[0].uid
    assert (row.source, row.delivery_id, row.session_key) == ("rpc", "d1", f"agent:default:local:dm:{uid}")
    assert (row.address.platform, row.text, row.untrusted) == ("rpc", "hello", False)
    assert ("ensure_turns", "default") in served.panel.done
    turn = await turns.begin(row.id)
    for kind, more in (("started", {}), ("text", {"text": "Hi"}), ("tool", {"name": "terminal", "text": "{}"})):
        turns.say(turn, kind, **more)
    await turns.finish(turn, "Hi there")
    turns.say(turn, "finished", text="Hi there", state="done")
    updates, answer = await until_result(wire)
    assert [update["kind"] for update in updates] == ["started", "text", "tool"]
    assert all(update["id"] == asked and update["turn"] == turn.id for update in updates)
    assert answer["result"] == {
        "state": "done",
        "text": "Hi there",
        "session": turn.session_id,
        "turn": turn.id,
        "inbox_id": row.id,
        "model": "m",
        "input_tokens": 3,
        "output_tokens": 4,
    }
    await turns.sent(turn)


async def test_a_turn_that_ends_without_a_word_is_answered_too(wire: Wire, turns: Turns) -> None:
    """A command or an answered question says nothing to Live; the store's event is enough."""
    await wire.send("chat.send", {"text": "hello"})
    turn = await turns.begin(await turns.accepted())
    await turns.finish(turn, "done so")
    _, answer = await until_result(wire)
    assert answer["result"]["text"] == "done so"


async def test_a_turn_that_is_over_before_accept_has_returned_is_not_missed(
    served: Served, wire: Wire, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its updates too: the subscription comes first."""
    accept = served.panel.store.accept

    async def accept_and_run(events: Any, **more: Any) -> Any:
        accepted = await accept(events, **more)
        turn = await turns.begin(accepted[0].id)
        turns.say(turn, "started")
        turns.say(turn, "text", text="quick")
        await turns.finish(turn, "quick")
        turns.say(turn, "finished", text="quick", state="done")
        return accepted

    monkeypatch.setattr(served.panel.store, "accept", accept_and_run)
    await wire.send("chat.send", {"text": "hello"})
    updates, answer = await until_result(wire)
    assert [update["kind"] for update in updates] == ["accepted", "started", "text"]
    assert answer["result"]["text"] == "quick"


async def test_other_turns_of_the_profile_are_not_heard(wire: Wire, turns: Turns) -> None:
    """Only the message's own."""
    await wire.send("chat.send", {"text": "one"})
    first = await turns.begin(await turns.accepted())
    other = type("T", (), {"profile": "default", "session_id": "s", "id": "t", "inbox_id": first.inbox_id + 1})
    turns.say(other, "text", text="not yours")
    await turns.finish(first, "mine")
    updates, _ = await until_result(wire)
    assert [update["kind"] for update in updates] == ["accepted"]


async def test_a_repeated_delivery_id_gets_the_stored_answer(served: Served, wire: Wire, turns: Turns) -> None:
    """From the store, as a duplicate, whatever the text is; nothing is processed again."""
    await wire.send("chat.send", {"text": "hello", "delivery_id": "d1"})
    turn = await turns.begin(await turns.accepted())
    await turns.finish(turn, "the answer")
    _, first = await until_result(wire)
    again = await served.connect()
    result = await again.result("chat.send", {"text": "other", "delivery_id": "d1"})
    assert result == {**first["result"], "duplicate": True}
    assert len(await turns.store.inbox()) == 1


async def test_a_repeat_while_the_turn_runs_waits_for_the_same_answer(served: Served, wire: Wire, turns: Turns) -> None:
    """The client of the first one is gone; its turn is not."""
    await wire.send("chat.send", {"text": "hello", "delivery_id": "d1"})
    turn = await turns.begin(await turns.accepted())
    await wire.stream.aclose()
    question = await turns.store.ask(
        turn_id=turn.id,
        session_id=turn.session_id,
        profile="default",
        kind="approve",
        key="k",
        text="May I?",
        options=["yes", "no"],
    )
    again = await served.connect()
    await again.send("chat.send", {"text": "hello", "delivery_id": "d1"})
    assert (await again.message())["params"]["kind"] == "accepted"
    asked = (await again.message())["params"]
    assert (asked["kind"], asked["question"]["id"]) == ("question", question.id)
    turns.say(turn, "text", text="more")
    await turns.finish(turn, "the answer")
    updates, answer = await until_result(again)
    assert [update["text"] for update in updates] == ["more"]
    assert (answer["result"]["text"], answer["result"]["duplicate"]) == ("the answer", True)
    await turns.sent(turn)


async def test_a_deferred_turn_is_waited_for(wire: Wire, turns: Turns) -> None:
    """The notice comes, the stream goes on, the answer comes later."""
    await wire.send("chat.send", {"text": "hello"})
    turn = await turns.begin(await turns.accepted())
    await turns.store.suspend_turn(turn.id, state="deferred", not_before=9e9, error="endpoint away")
    turns.say(turn, "notice", text="not reachable")
    turn = await turns.begin(turn.inbox_id)
    await turns.finish(turn, "at last")
    updates, answer = await until_result(wire)
    assert [update["kind"] for update in updates] == ["accepted", "notice"]
    assert answer["result"]["text"] == "at last"


@pytest.mark.parametrize(("state", "inbox_state"), [("failed", "failed"), ("cancelled", "done"), ("parked", "parked")])
async def test_a_turn_that_did_not_end_well_is_a_result_that_says_so(
    wire: Wire, turns: Turns, state: str, inbox_state: str
) -> None:
    """Not an error: the message was processed."""
    await wire.send("chat.send", {"text": "hello", "quiet": True})
    turn = await turns.begin(await turns.accepted())
    await turns.finish(turn, "why", state=state, inbox_state=inbox_state)
    updates, answer = await until_result(wire)
    assert updates == []
    assert (answer["result"]["state"], answer["result"]["text"]) == (state, "why")


async def test_a_message_that_is_not_waited_for_is_answered_once_it_is_durable(wire: Wire, turns: Turns) -> None:
    """wait: false."""
    result = await wire.result("chat.send", {"text": "hello", "wait": False})
    assert result["state"] == "accepted"
    assert (await turns.store.inbox_row(result["inbox_id"])).text == "hello"


async def test_a_named_session_is_the_one_that_is_meant(wire: Wire, turns: Turns) -> None:
    """Its key, and its id in the event, in case the key is bound to a newer one."""
    session = await turns.store.open_session("default", "agent:default:telegram:dm:7", source="telegram")
    await turns.store.new_session("default", session.key, source="telegram")
    result = await wire.result("chat.send", {"text": "x", "session": session.id[:-1], "wait": False})
    row = await turns.store.inbox_row(result["inbox_id"])
    assert (row.session_key, row.meta) == (session.key, {"session": session.id})
    assert result["session"] == session.id


async def test_a_new_session_is_opened_once_for_a_repeated_message(wire: Wire, turns: Turns) -> None:
    """A repeat must not leave the conversation in an empty session."""
    ask = {"text": "x", "new": True, "delivery_id": "d1", "wait": False}
    await wire.result("chat.send", {"text": "before", "wait": False})
    await wire.result("chat.send", ask)
    before = await turns.store.sessions()
    await wire.result("chat.send", ask)
    assert await turns.store.sessions() == before
    assert len(before) == 1


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"text": "  "}, "text"),
        ({"text": "x", "delivery_id": "a\nb"}, "delivery_id"),
        ({"text": "x", "delivery_id": "a" * 201}, "delivery_id"),
        ({"text": "x", "session": "s", "new": True}, "new"),
    ],
)
async def test_a_message_that_makes_no_sense_is_refused(
    wire: Wire, turns: Turns, params: dict[str, object], named: str
) -> None:
    """Nothing is accepted."""
    error = await wire.error("chat.send", params)
    assert (error["code"], error["data"]["where"]) == (-32602, named)
    assert await turns.store.inbox() == []


async def test_unknown_profiles_and_sessions_are_not_found(wire: Wire) -> None:
    """By their code."""
    assert (await wire.error("chat.send", {"text": "x", "profile": "nobody"}))["code"] == -32001
    assert (await wire.error("chat.send", {"text": "x", "session": "nope"}))["code"] == -32001


async def test_an_interrupt_names_the_local_session_unless_told_otherwise(served: Served, wire: Wire) -> None:
    """The one that chat.send without a session uses."""
    await wire.result("chat.interrupt")
    key = f"agent:default:local:dm:{served.audited[0].uid}"
    session = await served.panel.store.open_session("default", key, source="rpc")
    assert ("interrupt", "default", session.id) in served.panel.done


async def test_a_deleted_profile_ends_the_wait(served: Served, wire: Wire, turns: Turns) -> None:
    """Its rows are gone, so there is nothing to wait for."""
    await wire.send("chat.send", {"text": "hello", "quiet": True})
    await turns.accepted()
    await trio.testing.wait_all_tasks_blocked()
    await served.panel.store.delete_profile("default")
    assert (await wire.message())["error"]["code"] == -32001

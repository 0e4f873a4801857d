"""Methods called within the daemon: the same table, with fewer doors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from hermesd.errors import DeniedError, NotFoundError, RestartError, UsageError
from hermesd.rpc.calls import AuditRecord
from hermesd.rpc.inprocess import InProcess
from hermesd.serving.backend import METHODS
from tests.servers.panel import Panel
from tests.servers.served import Served
from tests.unit.rpc.test_chat import Turns
from tests.waiting import PATIENCE_S


@pytest.fixture
async def panel(tmp_path: Path) -> AsyncIterator[Panel]:
    """A daemon's panel over a real store that runs."""
    found = Panel.open(tmp_path / "home")
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(found.store.run)
            yield found
            nursery.cancel_scope.cancel()
    finally:
        found.store.close()


@pytest.fixture
def audited() -> list[AuditRecord]:
    return []


@pytest.fixture
def backend(panel: Panel, audited: list[AuditRecord]) -> InProcess:
    return InProcess(panel, methods=METHODS, role="chat", audit=audited.append)


MESSAGE = {"text": "hello", "agent": True, "wait": False, "delivery_id": "one"}


async def test_a_result_is_plain_data(backend: InProcess) -> None:
    """As it would have come over the socket."""
    found = await backend.call("profile.list", {})
    assert found["profiles"][0]["name"] == "default"
    assert (await backend.call("sessions.list", {"limit": 3})) == {"sessions": []}


@pytest.mark.parametrize("method", ["daemon.stop", "chat.answer", "config.show", "logs.tail", "no.such", "mcp.call"])
async def test_what_is_not_listed_is_denied(backend: InProcess, audited: list[AuditRecord], method: str) -> None:
    """Whatever its role would allow, and the audit log has it."""
    with pytest.raises(DeniedError):
        await backend.call(method, {})
    assert [(record.method, record.outcome) for record in audited] == [(method, "denied")]


async def test_a_role_that_does_not_reach_is_denied(panel: Panel) -> None:
    """A list that names too much gives nobody more than the role."""
    backend = InProcess(panel, methods=["daemon.stop"], role="chat", audit=lambda _: None)
    with pytest.raises(DeniedError):
        await backend.call("daemon.stop", {})
    assert not panel.done


async def test_bad_parameters_are_named(backend: InProcess) -> None:
    """As over the socket."""
    with pytest.raises(UsageError, match="limit"):
        await backend.call("sessions.list", {"limit": "many"})


async def test_a_mutating_call_is_audited_without_what_was_said(backend: InProcess, audited: list[AuditRecord]) -> None:
    """Allowed before it takes effect; and once more when it fails."""
    await backend.call("chat.send", MESSAGE)
    with pytest.raises(NotFoundError):
        await backend.call("chat.send", {**MESSAGE, "profile": "nobody"})
    assert [record.outcome for record in audited] == ["allowed", "allowed", "failed"]
    assert "hello" not in audited[0].subject
    assert "agent='True'" in audited[0].subject


async def test_what_an_agent_says_is_marked_and_kept_apart(panel: Panel, backend: InProcess) -> None:
    """It is text from outside, in a conversation that is not the user's, and from another source."""
    await backend.call("chat.send", MESSAGE)
    await backend.call("chat.send", {**MESSAGE, "agent": False})
    agents, users = sorted(await panel.store.inbox(limit=10), key=lambda row: row.id)
    assert (agents.untrusted, agents.source) == (True, "mcp")
    assert (users.untrusted, users.source) == (False, "rpc")
    assert agents.session_key != users.session_key


async def test_an_agent_may_not_write_into_a_conversation_of_the_user(panel: Panel, backend: InProcess) -> None:
    """Its words would stand among the user's."""
    own = await panel.store.open_session("default", "agent:default:local:dm:0", source="rpc")
    with pytest.raises(DeniedError, match="not one that agents write into"):
        await backend.call("chat.send", {**MESSAGE, "session": own.id})
    theirs = await panel.store.open_session("default", "agent:default:mcp:dm:0", source="mcp")
    assert (await backend.call("chat.send", {**MESSAGE, "session": theirs.id}))["session"] == theirs.id


async def test_a_repeat_that_asks_for_a_new_session_gets_no_second_one(panel: Panel, backend: InProcess) -> None:
    """The key says that it is the same message."""
    for _ in range(3):
        await backend.call("chat.send", {**MESSAGE, "new": True})
    assert len(await panel.store.sessions(limit=10)) == 1


async def test_an_answer_that_was_waited_for_is_marked_as_sent(panel: Panel, backend: InProcess) -> None:
    """It has reached whom it was for."""
    turns = Turns(panel)
    found: dict[str, Any] = {}

    async def ask() -> None:
        found.update(await backend.call("chat.send", {**MESSAGE, "wait": True}))

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await turns.finish(await turns.begin(await turns.accepted()), "the answer")
    assert (found["state"], found["text"]) == ("done", "the answer")
    assert [row.state for row in await panel.store.outbox(limit=10)] == ["sent"]


async def test_a_stop_ends_those_who_wait_and_says_how_to_go_on(panel: Panel, backend: InProcess) -> None:
    """With the id of their message; whoever comes later is told as much."""
    raised: list[RestartError] = []

    async def ask() -> None:
        with pytest.raises(RestartError) as info:
            await backend.call("chat.send", {**MESSAGE, "wait": True})
        raised.append(info.value)

    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await Turns(panel).accepted()
            backend.stop()
    assert "'one'" in raised[0].next_step
    with pytest.raises(RestartError):
        await backend.call("profile.list", {})


async def test_the_socket_takes_the_mark_as_well(served: Served) -> None:
    """`hermesctl mcp serve` sends it that way."""
    wire = await served.connect()
    await wire.result("chat.send", MESSAGE)
    [row] = await served.panel.store.inbox(limit=10)
    assert row.untrusted

"""Servers that ask back, as real processes: who is asked, how long it may take, and what is taken back."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from hermesd.config.schema import McpElicitationConfig, McpSamplingConfig, McpServerConfig
from hermesd.home import Profile
from hermesd.mcp.asking import on_behalf_of
from hermesd.mcp.callbacks import session_callbacks
from hermesd.mcp.errors import McpError
from hermesd.mcp.sampling import Sampler
from hermesd.mcp.server import McpServer
from hermesd.providers.base import Delta, ModelReply, ModelRequest, Usage
from hermesd.tools.base import ToolContext
from tests.servers import everything, mcp_asking, mcp_elicits
from tests.standing_clock import standing_still
from tests.unit.mcp.conftest import Person

TOO_LONG_S = 120.0
needs_node = pytest.mark.skipif(not (shutil.which("node") and shutil.which("npm")), reason="needs node and npm")
FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {"colour": {"type": "string"}}}}
URL = {"mode": "url", "message": "Pay.", "url": "https://pay.example/", "elicitationId": "e1"}
HELLO = {"messages": [{"role": "user", "content": {"type": "text", "text": "hello"}}], "maxTokens": 100_000}


class Model:
    """Says "hi" after ``takes_s``."""

    name = "model"

    def __init__(self) -> None:
        self.takes_s = 0.0
        self.requests: list[ModelRequest] = []

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        self.requests.append(request)
        await trio.sleep(self.takes_s)
        return ModelReply(text="hi", usage=Usage(input_tokens=3, output_tokens=1), model="own-1")

    async def aclose(self) -> None:
        """Nothing is open."""


class Subject:
    """A server with its sampler, a model of ours, and the events that were kept."""

    def __init__(self, config: McpServerConfig, place: Path) -> None:
        self.model = Model()
        self.events: list[dict[str, object]] = []
        self.sampler = Sampler("s", config.sampling, lambda: (self.model, "own-1"), self._record)
        self.server = McpServer("default", "s", config, tag="test:", callbacks=self._callbacks)
        self._place = place

    def _callbacks(self, server: McpServer) -> dict[str, Any]:
        return session_callbacks("s", server.config, server.under_way, self.sampler, self._record)

    async def _record(self, kind: str, data: dict[str, object]) -> None:
        self.events.append({"kind": kind, **data})

    def scope(self, person: Person) -> ToolContext:
        return ToolContext(
            profile=Profile("default", self._place),
            workspace=self._place,
            session_id="s1",
            turn_id="t1",
            call_id="c1",
            env={},
            ask=person.ask,
            state=None,  # type: ignore[arg-type]  # no tool of ours is called
            withdraw=person.withdraw,
        )

    async def call(self, person: Person, tool: str, arguments: Mapping[str, Any] | None = None, **more: Any) -> Any:
        """What the tool says, as JSON where it is."""
        with on_behalf_of(self.scope(person)):
            found = await self.server.call_tool(tool, dict(arguments or {}), **more)
        text = found["content"][0]["text"]
        return json.loads(text) if text[:1] in '{["' else text


@asynccontextmanager
async def running(subject: Subject) -> AsyncIterator[Subject]:
    with trio.fail_after(TOO_LONG_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(subject.server.run)
            yield subject
            nursery.cancel_scope.cancel()


def asking(place: Path, *modes: str, **more: Any) -> Subject:
    command = {"command": sys.executable, "args": ["-I", "-S", mcp_asking.__file__, *modes]}
    return Subject(McpServerConfig(**command, **{"sampling": McpSamplingConfig(enabled=True), **more}), place)


async def test_what_is_switched_off_is_not_announced(tmp_path: Path) -> None:
    """Sampling is off unless it is switched on; elicitation the other way round; tools with rounds only."""
    announced = {"form": {}, "url": {}}
    off = McpElicitationConfig(enabled=False)
    for more, expected in (
        ({"sampling": McpSamplingConfig()}, {"elicitation": announced}),
        ({"elicitation": off}, {"sampling": {"tools": {}}}),
        ({"elicitation": off, "sampling": McpSamplingConfig(enabled=True, max_tool_rounds=0)}, {"sampling": {}}),
        ({"elicitation": off, "sampling": McpSamplingConfig()}, {}),
    ):
        async with running(asking(tmp_path, **more)) as subject:
            assert await subject.call(Person(), "capabilities") == expected


async def test_a_question_goes_to_the_person_of_the_only_call(tmp_path: Path) -> None:
    """And in a call that nobody stands behind it is cancelled at once."""
    person = Person(["blue"])
    async with running(asking(tmp_path)) as subject:
        found = await subject.call(person, "ask", {"params": FORM})
        assert found == {"result": {"action": "accept", "content": {"colour": "blue"}}}
        nobody = await subject.server.call_tool("ask", {"params": FORM})
        assert json.loads(nobody["content"][0]["text"]) == {"result": {"action": "cancel"}}
    assert len(person.asked) == 1


async def test_with_two_calls_under_way_nobody_is_asked(tmp_path: Path) -> None:
    """Over stdio a question does not tell which call it belongs to."""
    waiting, asked = Person(["red"]), Person(["blue"])
    async with running(asking(tmp_path)) as subject, trio.open_nursery() as nursery:
        assert await subject.server.wait_ready(30)
        nursery.start_soon(subject.call, waiting, "wait")
        await trio.testing.wait_all_tasks_blocked()
        assert subject.server.active_calls == 1
        assert await subject.call(asked, "ask", {"params": FORM}) == {"result": {"action": "cancel"}}
        nursery.cancel_scope.cancel()
    assert (waiting.asked, asked.asked) == ([], [])


async def test_a_question_outside_any_call_is_cancelled(tmp_path: Path) -> None:
    """A server that asks after its call was answered gets its answer without anybody."""
    person = Person(["blue"])
    async with running(asking(tmp_path)) as subject:
        assert await subject.call(person, "later", {"params": FORM}) == "later"
        told = await subject.server.call_tool("told")
    assert json.loads(told["content"][0]["text"]) == {"result": {"action": "cancel"}}
    assert person.asked == []


async def test_a_call_does_not_time_out_while_its_person_thinks(tmp_path: Path, clock: MockClock) -> None:
    """Its own time is over long before the answer."""
    person = Person(["blue"], thinks_s=20)
    async with running(asking(tmp_path)) as subject:
        assert await subject.server.wait_ready(30)
        with standing_still(clock):
            call = partial(subject.call, person, "ask", {"params": FORM}, timeout_s=2.0)
            found = await answered_later(clock, person, call)
        assert found["result"]["content"] == {"colour": "blue"}
        with pytest.raises(McpError, match=r"no answer within 0\.2 s"):
            await subject.call(person, "wait", timeout_s=0.2)


async def answered_later(clock: MockClock, person: Person, call: Callable[[], Awaitable[Any]]) -> Any:
    """What a call says whose person thinks for as long as they do, while the clock stands still otherwise."""
    said: list[Any] = []

    async def outcome() -> None:
        said.append(await call())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome)
        await person.is_asked.wait()
        await trio.testing.wait_all_tasks_blocked()
        clock.jump(person.thinks_s)
    return said[0]


@pytest.mark.parametrize("how", ["cancel", "answer", "die"])
async def test_a_question_that_is_not_needed_any_more_is_taken_back(tmp_path: Path, how: str) -> None:
    """The server cancels it, answers its call without it, or dies."""
    person = Person(thinks_s=1000)
    said: list[object] = []

    async def outcome(call: Callable[[], Awaitable[object]]) -> None:
        try:
            said.append(await call())
        except McpError as error:
            said.append(error.kind)

    async with running(asking(tmp_path)) as subject, trio.open_nursery() as nursery:
        nursery.start_soon(outcome, lambda: subject.call(person, "hold", {"params": FORM}))
        await person.is_asked.wait()
        with trio.fail_after(60):
            await outcome(lambda: subject.server.call_tool("go", {"how": how}))
    assert said.count(how) == (how != "die")
    assert person.withdrawn == 1


async def test_a_call_that_needs_a_visit_is_made_again_after_it(tmp_path: Path) -> None:
    """Error -32042 of 2025-11-25: the address is shown, and the call made once more; or it fails as it did."""
    person = Person(["done"])
    async with running(asking(tmp_path)) as subject:
        assert await subject.call(person, "visit", {"url": URL["url"]}) == "visited"
        assert "https://pay.example/" in person.asked[0]
    async with running(asking(tmp_path)) as subject:
        with pytest.raises(McpError, match="sign in"):
            await subject.call(Person(["decline"]), "visit", {"url": URL["url"]})


async def test_a_modern_server_asks_in_rounds(tmp_path: Path) -> None:
    """2026-07-28: the call is made again with the answer and the server's state, ten times at most."""
    person = Person(["blue", "red"])
    async with running(asking(tmp_path, "modern", era="modern")) as subject:
        found = await subject.call(person, "ask", {"params": FORM, "rounds": 2})
        assert found == {"responses": {"q": {"action": "accept", "content": {"colour": "red"}}}, "rounds": 2}
        sampled = await subject.call(Person(["yes"]), "sample", {"params": HELLO, "rounds": 3})
        assert sampled["responses"]["q"]["content"] == {"type": "text", "text": "hi"}
        with pytest.raises(McpError, match="asked back more than 10 times"):
            await subject.call(Person(["x"] * 20), "ask", {"params": FORM, "rounds": 100})
        assert await subject.call(person, "capabilities") == {
            "sampling": {"tools": {}},
            "elicitation": {"form": {}, "url": {}},
        }
    assert len(subject.model.requests) == 3


async def test_a_modern_server_is_told_when_its_request_is_refused(tmp_path: Path) -> None:
    """The call fails with the reason; it is not made again."""
    async with running(asking(tmp_path, "modern", era="modern")) as subject:
        with pytest.raises(McpError, match="the user does not allow it"):
            await subject.call(Person(["no"]), "sample", {"params": HELLO})
    assert subject.model.requests == []


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the SDK's, of streams it gives up
@pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning")
async def test_over_http_each_of_two_calls_asks_its_own_person(tmp_path: Path) -> None:
    """There the SDK tells which call a question belongs to."""
    ada, bob = Person(["blue"], thinks_s=0.3), Person(["red"], thinks_s=0.3)
    with mcp_elicits.serving(tmp_path) as url:
        async with running(Subject(McpServerConfig(url=url), tmp_path)) as subject:
            found: dict[str, Any] = {}

            async def ask(name: str, person: Person) -> None:
                found[name] = await subject.call(person, "ask", {"question": f"{name}?"})

            assert await subject.server.wait_ready(30)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, "ada", ada)
                nursery.start_soon(ask, "bob", bob)
    assert found == {"ada": "accept blue", "bob": "accept red"}
    assert "> ada?" in ada.asked[0]
    assert "> bob?" in bob.asked[0]


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # the SDK's, of streams it gives up
@pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning")
async def test_over_http_a_person_may_think_longer_than_a_stream_may_be_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: MockClock
) -> None:
    """The stream on which the answer of the call will come is silent meanwhile, and is not given up."""
    monkeypatch.setattr("hermesd.mcp.http.READ_EXTRA_S", 0.0)
    person = Person(["blue"], thinks_s=20)
    with mcp_elicits.serving(tmp_path) as url:
        async with running(Subject(McpServerConfig(url=url, timeout=2.0), tmp_path)) as subject:
            assert await subject.server.wait_ready(30)
            with standing_still(clock):
                call = partial(subject.call, person, "ask", {"question": "which?"})
                assert await answered_later(clock, person, call) == "accept blue"


# -- F1 ----------------------------------------------------------------------------------------------------------------


def reference(place: Path, **sampling: Any) -> Subject:
    config = McpServerConfig(
        command="node",
        args=[str(everything.program()), "stdio"],
        sampling=McpSamplingConfig(enabled=True, ask="never", **sampling),
    )
    return Subject(config, place)


@needs_node
async def test_the_reference_server_gets_what_its_limits_allow(tmp_path: Path) -> None:
    """F1 with npm server-everything: the cap, ten a minute and not eleven, the time."""
    prompt = {"prompt": "hello", "maxTokens": 100_000}
    async with running(reference(tmp_path, timeout=0.5)) as subject:
        answers = [await subject.call(Person(), "trigger-sampling-request", prompt) for _ in range(9)]
        assert all('"text": "hi"' in answer for answer in answers)
        assert {request.max_output_tokens for request in subject.model.requests} == {4096}
        subject.model.takes_s = 30
        late = await subject.server.call_tool("trigger-sampling-request", prompt)
        assert late["isError"]
        assert "the model did not answer within 0.5 s" in late["content"][0]["text"]
        refused = await subject.server.call_tool("trigger-sampling-request", prompt)
        assert refused["isError"]
        assert "at most 10 requests a minute" in refused["content"][0]["text"]
    assert len(subject.model.requests) == 10
    assert [event["outcome"] for event in subject.events] == ["answered"] * 9 + ["timeout", "rate"]

"""A turn's real surroundings: the store on a file, the tool registry, settings; only the model is a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from hermesd.config.schema import AgentConfig, Config, PolicyConfig
from hermesd.config.settings import Secrets, Settings
from hermesd.home import Home
from hermesd.providers.base import Delta, ModelReply, ModelRequest, TextDelta, ToolCall
from hermesd.store.records import Address, BegunTurn, Effect, NewEvent
from hermesd.store.sqlite import SqliteStore
from hermesd.tools.base import ToolContext, ToolResult
from hermesd.tools.registry import ToolRegistry
from hermesd.turns.engine import Outcome, TurnControl, run_turn
from hermesd.turns.live import Live, Update
from hermesd.turns.questions import Questions
from hermesd.turns.scope import Workbench

Line = ModelReply | Exception | Callable[[], object]


class ScriptedProvider:
    """A ``providers.base.Provider`` that says its lines in order; the last one again and again.

    A line is a reply, an exception to raise, or a coroutine function to await first (its next line follows).
    """

    name = "scripted"

    def __init__(self, *lines: Line) -> None:
        self.lines = list(lines)
        self.requests: list[ModelRequest] = []
        self.closed = False

    async def complete(self, request: ModelRequest, *, on_delta: Callable[[Delta], None]) -> ModelReply:
        await trio.lowlevel.checkpoint()
        self.requests.append(request)
        while True:
            line = self.lines.pop(0) if len(self.lines) > 1 else self.lines[0]
            if isinstance(line, Exception):
                raise line
            if isinstance(line, ModelReply):
                if line.text:
                    on_delta(TextDelta(line.text))
                return line
            await line()  # type: ignore[misc]  # a coroutine function

    async def aclose(self) -> None:
        self.closed = True


@dataclass
class Probe:
    """A tool that tells when it begins and ends, and waits where it is told to."""

    name: str
    kind: Effect = "read_only"
    gate: trio.Event | None = None
    log: list[str] = field(default_factory=list)
    result: ToolResult = field(default_factory=lambda: ToolResult("ok"))
    begun: trio.Event = field(default_factory=trio.Event)
    description: str = "probe"
    parameters: dict[str, object] = field(default_factory=lambda: {"type": "object"})

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        return self.kind

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        self.log.append(f"{self.name}+")
        self.begun.set()
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        self.log.append(f"{self.name}-")
        return self.result


class World:
    """One profile's workbench and short ways to make and run turns on it."""

    def __init__(self, store: SqliteStore, home: Home) -> None:
        self.store = store
        self.home = home
        self.live = Live()
        self.questions = Questions(store)
        self.updates: list[Update] = []
        self.live.follow_profile("default", self.updates.append)
        self.tools: list[Probe] = []
        self.provider = ScriptedProvider(ModelReply(text="hello"))
        self.agent = AgentConfig()
        self.policy = PolicyConfig(unsafe="allow")
        self.approvals: dict = {}

    def bench(self) -> Workbench:
        config = Config(agent=self.agent, policy=self.policy)
        return Workbench(
            settings=Settings(self.home.default_profile, config, Secrets({})),
            store=self.store,
            live=self.live,
            provider=self.provider,
            tools=ToolRegistry(["clarify"], extra=self.tools),
            questions=self.questions,
            approvals=self.approvals,
            environment={},
            tool_state=lambda _session: None,  # type: ignore[arg-type,return-value]  # no tool here keeps any
        )

    async def accept(
        self, text: str = "hi", *, delivery: str = "1", source: str = "telegram", key: str = "k", **more: object
    ) -> int:
        event = NewEvent(
            profile="default",
            source=source,
            delivery_id=delivery,
            session_key=key,
            text=text,
            address=Address(platform=source.partition(":")[0], chat="7"),
            sender="7",
            **more,
        )
        return (await self.store.accept([event]))[0].id

    async def begin(self, inbox_id: int, *, key: str = "k") -> BegunTurn:
        session = await self.store.open_session("default", key, source="telegram")
        return await self.store.begin_turn(inbox_id, session_id=session.id)

    async def run(self, begun: BegunTurn, control: TurnControl | None = None) -> Outcome:
        return await run_turn(self.bench(), begun, control or TurnControl(trio.CancelScope()))

    async def say(self, text: str = "hi", *, delivery: str = "1", **more: object) -> Outcome:
        """Accept, begin, run."""
        return await self.run(await self.begin(await self.accept(text, delivery=delivery, **more)))

    async def outgoing(self) -> list[str]:
        return [row.text for row in reversed(await self.store.outbox())]

    async def remembered(self, key: str = "k") -> list[tuple[str, str]]:
        session = await self.store.open_session("default", key, source="telegram")
        return [(row.role, row.text) for row in await self.store.messages(session.id)]


def reply(text: str = "", *calls: tuple[str, str] | str, **more: object) -> ModelReply:
    """A reply; a call is a tool's name, or (name, arguments)."""
    pairs = [(call, "{}") if isinstance(call, str) else call for call in calls]
    return ModelReply(text=text, tool_calls=[ToolCall(f"c{n}", *pair) for n, pair in enumerate(pairs)], **more)


@pytest.fixture
async def world(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[World]:
    home = Home(tmp_path / "home")
    home.create()
    store = SqliteStore.open(home.state_path)
    await nursery.start(lambda task_status: store.run(task_status=task_status))
    yield World(store, home)
    store.close()

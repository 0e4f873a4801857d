"""A ToolContext of real parts: a home on disk, the allow-listed environment, a running process table."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from hermesd.home import Home
from hermesd.tools.base import ToolContext
from hermesd.tools.environment import child_environment
from hermesd.tools.terminal.leftovers import tag_prefix
from hermesd.tools.terminal.processes import ProcessTable


@dataclass
class MemoryState:
    """A session's tool state, kept in memory."""

    processes: ProcessTable
    values: dict[str, bytes] = field(default_factory=dict)

    async def get(self, name: str) -> bytes | None:
        return self.values.get(name)

    async def set(self, name: str, value: bytes | None) -> None:
        self.values.pop(name, None)
        if value is not None:
            self.values[name] = value


@dataclass
class Person:
    """Who is asked: gives the answers put here, and remembers the questions."""

    answers: list[str | None] = field(default_factory=list)
    questions: list[tuple[str, list[str]]] = field(default_factory=list)

    async def ask(self, question: str, options: list[str]) -> str | None:
        self.questions.append((question, options))
        await trio.lowlevel.checkpoint()
        return self.answers.pop(0) if self.answers else None


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with the secrets that a real one has."""
    found = Home(tmp_path / "home")
    found.create()
    for name in (".env", "auth.json", "config.yaml", "state.db"):
        (found.root / name).write_text("SECRET\n")
    for directory, name in (("mcp-tokens", "github.json"), (".activation", "applied.json")):
        (found.root / directory).mkdir()
        (found.root / directory / name).write_text("SECRET\n")
    found.default_profile.workspace.mkdir()
    return found


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
async def processes(home: Home, nursery: trio.Nursery) -> ProcessTable:
    """A running table; closed, with everything in it, when the test ends."""
    table = ProcessTable(tag_prefix(home.root), most=4)
    await nursery.start(table.run)
    return table


MakeContext = Callable[..., ToolContext]


@pytest.fixture
async def make_context(home: Home, person: Person, processes: ProcessTable) -> MakeContext:
    """``make_context(workspace=…, read_roots=…)``: a context of the default profile; any field can be set."""

    def make(**changes: object) -> ToolContext:
        profile = home.default_profile
        fields: dict[str, object] = {
            "profile": profile,
            "workspace": profile.workspace,
            "session_id": "s1",
            "turn_id": "t1",
            "call_id": "c1",
            "env": child_environment(os.environ),
            "ask": person.ask,
            "state": MemoryState(processes),
            "terminal_timeout_s": 20.0,
        }
        return ToolContext(**{**fields, **changes})  # type: ignore[arg-type]  # fields are given by name

    return make


@pytest.fixture
async def context(make_context: MakeContext) -> ToolContext:
    return make_context()

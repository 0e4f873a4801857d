"""A person who can be asked, and the calls of a server that are made for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio

from hermesd.home import Profile
from hermesd.tools.base import ToolContext


@dataclass
class Person:
    """Says these answers one after the other, each after ``thinks_s``; then nothing."""

    answers: list[str | None] = field(default_factory=list)
    thinks_s: float = 0.0
    asked: list[str] = field(default_factory=list)
    options: list[list[str]] = field(default_factory=list)
    withdrawn: int = 0
    is_asked: trio.Event = field(default_factory=trio.Event)

    async def ask(self, question: str, options: list[str]) -> str | None:
        self.asked.append(question)
        self.options.append(options)
        self.is_asked.set()
        await trio.sleep(self.thinks_s)
        return self.answers.pop(0) if self.answers else None

    async def withdraw(self) -> None:
        self.withdrawn += 1


MakeContext = Callable[..., ToolContext]


@pytest.fixture
def scope_of(tmp_path: Path) -> MakeContext:
    """``scope_of(person, session_id=…, attended=…)``: the scope of a call made for this person."""

    def make(person: Person, *, session_id: str = "s1", attended: bool = True) -> ToolContext:
        return ToolContext(
            profile=Profile("default", tmp_path),
            workspace=tmp_path,
            session_id=session_id,
            turn_id="t1",
            call_id="c1",
            env={},
            ask=person.ask,
            state=None,  # type: ignore[arg-type]  # no tool of ours is called
            attended=attended,
            withdraw=person.withdraw,
        )

    return make

"""logs.*: the end of the log, then every new line, across rotations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.servers.served import Served, Wire


@pytest.fixture
def log(served: Served) -> Path:
    return served.panel.home.logs / "hermesd.log"


def line(number: int, **more: Any) -> str:
    return json.dumps({"level": "info", "service": "rpc", "message": f"line {number}", **more})


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.write("".join(f"{text}\n" for text in lines))


async def received(wire: Wire, count: int) -> list[str]:
    messages = [await wire.message() for _ in range(count)]
    assert all(message["method"] == "logs.line" for message in messages), messages
    return [message["params"]["line"] for message in messages]


async def test_the_tail_is_the_last_lines_that_match(wire: Wire, log: Path) -> None:
    """By level and above, by service and below."""
    write(log, line(1), line(2, level="error"), line(3, service="rpc/x", level="warning"), line(4, service="store"))
    assert (await wire.result("logs.tail", {"lines": 2}))["lines"] == [
        line(3, service="rpc/x", level="warning"),
        line(4, service="store"),
    ]
    found = await wire.result("logs.tail", {"level": "warning", "service": "rpc"})
    assert [json.loads(text)["message"] for text in found["lines"]] == ["line 2", "line 3"]


async def test_following_sends_the_tail_and_then_each_new_line(wire: Wire, log: Path) -> None:
    """Whole lines only, in order."""
    write(log, line(1), line(2), line(3))
    await wire.send("logs.follow", {"lines": 2})
    assert await received(wire, 2) == [line(2), line(3)]
    write(log, line(4), line(5))
    assert await received(wire, 2) == [line(4), line(5)]
    with log.open("a") as file:
        file.write("half")
        file.flush()
        await trio.testing.wait_all_tasks_blocked(0.01)
        file.write(" a line\n")
    assert await received(wire, 1) == ["half a line"]


async def test_following_filters_new_lines(wire: Wire, log: Path) -> None:
    """As it does the tail."""
    write(log, line(1))
    await wire.send("logs.follow", {"level": "error"})
    await trio.testing.wait_all_tasks_blocked(0.01)
    write(log, line(2), line(3, level="error"))
    assert await received(wire, 1) == [line(3, level="error")]


async def test_following_survives_rotation(wire: Wire, log: Path) -> None:
    """What was written just before the rename and just after it comes, once."""
    write(log, line(0))
    await wire.send("logs.follow", {"lines": 1})
    assert await received(wire, 1) == [line(0)]
    for turn in range(3):
        write(log, line(10 * turn + 1))
        log.rename(log.with_suffix(".log.1"))
        write(log, line(10 * turn + 2))
        assert await received(wire, 2) == [line(10 * turn + 1), line(10 * turn + 2)]


async def test_following_survives_truncation(wire: Wire, log: Path) -> None:
    """A log that is cut to nothing is read from its beginning."""
    write(log, line(1), line(2))
    await wire.send("logs.follow", {"lines": 1})
    assert await received(wire, 1) == [line(2)]
    log.write_text("")
    write(log, line(3))
    assert await received(wire, 1) == [line(3)]


async def test_a_log_that_does_not_exist_yet_is_followed_from_its_birth(wire: Wire, log: Path) -> None:
    """There is no tail then."""
    assert not log.exists()
    await wire.send("logs.follow", {"lines": 5})
    await wire.result("rpc.ping")
    await trio.testing.wait_all_tasks_blocked(0.01)
    write(log, line(1))
    assert await received(wire, 1) == [line(1)]


async def test_an_unknown_level_is_refused(wire: Wire) -> None:
    """By both methods."""
    for method in ("logs.tail", "logs.follow"):
        assert (await wire.error(method, {"level": "loud"}))["code"] == -32602

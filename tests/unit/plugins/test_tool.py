"""Calls of a plugin's tool: bounded, contained, and told in the plugin's name."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

from hermesd.plugins.tool import THREADS, Handler, PluginTool
from hermesd.tools.base import ToolContext, ToolResult


class Exotic(BaseException):
    """No Exception."""


@pytest.fixture
def scope(tmp_path: Any) -> ToolContext:
    from hermesd.home import Home

    async def ask(question: str, options: list[str]) -> str | None:
        return None

    profile = Home(tmp_path).default_profile
    return ToolContext(profile, profile.workspace, "s1", "t1", "c1", env={}, ask=ask, state=None)  # type: ignore[arg-type]  # not used


def made(function: Callable[..., Any], kind: str = "thread", *, timeout_s: float = 60.0, **more: Any) -> PluginTool:
    handler = Handler(function, kind, more.pop("wants_context", False))  # type: ignore[arg-type]  # the test's words
    return PluginTool(
        "p",
        "t",
        description="",
        parameters={},
        handler=handler,
        effect="unsafe",
        timeout_s=timeout_s,
        threads=more.get("threads") or trio.CapacityLimiter(THREADS),
    )


@pytest.mark.parametrize(
    ("given", "text", "is_error"),
    [
        ("plain", "plain", False),
        ("", "[empty result]", False),
        (None, "[no result]", False),
        ({"a": [1]}, '{"a":[1]}', False),
        ({"error": "no"}, '{"error":"no"}', True),
        ([1, "x"], '[1,"x"]', False),
        ("\x1b[31mred\u202e", "[31mred", False),
        (b"bytes", "t of the plugin 'p' gave back bytes instead of text or JSON.", True),
        ({"a": object()}, None, True),
    ],
)
async def test_what_a_handler_gives_back_becomes_text(
    scope: ToolContext, given: object, text: str | None, is_error: bool
) -> None:
    """Text, or what can be written as JSON; without controls, and marked as untrusted."""
    found = await made(lambda arguments: given).run({}, scope)
    assert (found.is_error, found.untrusted) == (is_error, True)
    assert text is None or found.text == text
    assert text is not None or "is no JSON" in found.text or "gave back what" in found.text


@pytest.mark.parametrize("kind", ["thread", "trio", "asyncio"])
@pytest.mark.parametrize(
    "error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), trio.TooSlowError(), Exotic()]
)
async def test_nothing_that_a_handler_raises_gets_past_its_call(
    scope: ToolContext, kind: str, error: BaseException
) -> None:
    """Also what would end a program, and what another library takes for its own signal."""

    def function(arguments: object) -> None:
        raise error

    async def coroutine(arguments: object) -> None:
        raise error

    found = await made(function if kind == "thread" else coroutine, kind).run({}, scope)
    assert found.is_error
    assert found.text.startswith("t of the plugin 'p' failed: ")


async def test_what_a_nursery_of_a_handler_raises_is_contained(scope: ToolContext) -> None:
    """Groups of exceptions, and a cancellation from outside is not swallowed with them."""

    async def fail() -> None:
        raise SystemExit(3)

    async def handler(arguments: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    assert (await made(handler, "trio").run({}, scope)).is_error
    with trio.move_on_after(0.05) as outer:
        await made(stubborn, "trio").run({}, scope)
    assert outer.cancelled_caught


async def stubborn(arguments: object) -> None:
    """Raises something of its own besides, when it is cancelled."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("while cleaning up")


async def test_a_coroutine_that_was_not_said_to_be_one_is_told(scope: ToolContext) -> None:
    """It is closed, so that Python does not warn of it."""

    async def late(arguments: object) -> str:
        return "x"

    found = await made(lambda given: late(dict(given))).run({}, scope)
    assert "must be the handler" in found.text


async def test_a_long_result_loses_its_middle(scope: ToolContext) -> None:
    """No plugin fills the model's window."""
    found = await made(lambda arguments: "x" * 1_000_000).run({}, scope)
    assert len(found.text) < 70_000


async def test_a_handler_may_ask_for_its_context(scope: ToolContext) -> None:
    """Profile, workspace, session and call; it cannot change the arguments of anybody else."""
    arguments = {"a": 1}

    def handler(given: dict[str, object], context: Any) -> str:
        given["a"] = 2
        return f"{context.profile} {context.session_id} {context.call_id} {context.workspace.name}"

    found = await made(handler, wants_context=True).run(arguments, scope)
    assert (found.text, arguments) == ("default s1 c1 workspace", {"a": 1})


async def test_a_coroutine_that_hangs_is_given_up(scope: ToolContext, autojump_clock: trio.testing.MockClock) -> None:
    """In virtual time, on Trio."""

    async def handler(arguments: object) -> None:
        await trio.sleep_forever()

    found = await made(handler, "trio", timeout_s=60).run({}, scope)
    assert found.is_error
    assert "of the plugin 'p' was given up after 60 s" in found.text


async def test_threads_that_hang_occupy_their_plugin_and_nobody_else(scope: ToolContext) -> None:
    """When all of them do, the next call says so; another plugin has threads of its own."""
    release = threading.Event()
    threads = trio.CapacityLimiter(THREADS)
    hanging = made(lambda arguments: release.wait(), timeout_s=0.2, threads=threads)
    results: list[ToolResult] = []

    async def call() -> None:
        results.append(await hanging.run({}, scope))

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(THREADS):
                nursery.start_soon(call)
        assert all(result.is_error for result in results)
        found = await hanging.run({}, scope)
        assert f"calls that do not end occupy all its {THREADS} threads" in found.text
        assert (await made(lambda arguments: "fine").run({}, scope)).text == "fine"
    finally:
        release.set()


async def test_a_turn_that_is_stopped_does_not_wait_for_a_thread(scope: ToolContext) -> None:
    """Its call is abandoned; being cancelled is not the plugin's failure."""
    release, begun = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    def handler(arguments: object) -> None:
        token.run_sync_soon(begun.set)
        release.wait()

    ended: list[ToolResult] = []
    try:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                ended.append(await made(handler).run({}, scope))

            nursery.start_soon(call)
            await begun.wait()
            nursery.cancel_scope.cancel()
        assert ended == []
    finally:
        release.set()


async def test_an_exception_is_told_bounded_and_on_one_line(scope: ToolContext) -> None:
    """Whatever it says."""

    def handler(arguments: object) -> None:
        raise ValueError("a\nb\x1b[31m" + "x" * 5000)

    found = await made(handler).run({}, scope)
    assert found.text.startswith("t of the plugin 'p' failed: ValueError: a b")
    assert "\n" not in found.text
    assert "\x1b" not in found.text
    assert len(found.text) < 700

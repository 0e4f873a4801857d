"""A plugin's tool as one of ours: its handler bounded in time, and whatever it does wrong told in its plugin's name."""

from __future__ import annotations

import inspect
import logging
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import trio

from hermesd.plugins.errors import said
from hermesd.tools.base import ToolResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hermesd.store.records import Effect
    from hermesd.tools.base import ToolContext

log = logging.getLogger("hermesd.plugins")

THREADS = 4
"""Calls of one plugin that may run in threads side by side; one that never ends keeps its place."""


class Call(msgspec.Struct, frozen=True):
    """What a handler with a parameter ``context`` is told of its call."""

    profile: str
    workspace: Path
    session_id: str
    call_id: str


class Handler(msgspec.Struct, frozen=True):
    """How a tool is called: a function in a thread, a coroutine on Trio, or one on an asyncio loop in a thread."""

    function: Callable[..., Any]  # a plugin's own; what it gives back is looked at
    kind: Literal["thread", "trio", "asyncio"]
    wants_context: bool


class PluginTool:
    """``tools.base.Tool`` for one handler. ``threads`` is shared by the tools of its plugin."""

    def __init__(
        self,
        plugin: str,
        name: str,
        *,
        description: str,
        parameters: dict[str, object],
        handler: Handler,
        effect: Effect,
        timeout_s: float,
        threads: trio.CapacityLimiter,
    ) -> None:
        self.plugin = plugin
        self.name = name
        self.description = description
        self.parameters = parameters
        self.timeout_s = timeout_s
        self._handler = handler
        self._effect: Effect = effect
        self._threads = threads

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        """As its plugin has declared it."""
        return self._effect

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        """Call the handler. What it gives back is untrusted: it may come from anywhere."""
        more = {"context": _call(context)} if self._handler.wants_context else {}
        try:
            with trio.move_on_after(self.timeout_s):
                return self._result(await self._answer(dict(arguments), more))
        except (trio.Cancelled, GeneratorExit):
            raise
        except BaseException as error:  # a plugin's bug is the plugin's: told to the model, its traceback logged
            if isinstance(error, BaseExceptionGroup) and (cancelled := error.subgroup(trio.Cancelled)) is not None:
                raise cancelled from None
            log.warning("plugin %s: the tool %s raised", self.plugin, self.name, exc_info=error)
            return self._failure(f"failed: {said(error)}{_hint(error)}")
        return self._failure(self._gave_up())

    async def _answer(self, arguments: dict[str, object], more: Mapping[str, object]) -> object:
        function = self._handler.function
        if self._handler.kind == "trio":
            return await function(arguments, **more)

        def work() -> object:
            if self._handler.kind == "thread":
                found = function(arguments, **more)
                if inspect.iscoroutine(found):
                    found.close()
                    raise TypeError("gave back a coroutine; the async function itself must be the handler")
                return found
            import asyncio

            return asyncio.run(function(arguments, **more))

        name = f"plugin {self.plugin}: {self.name}"
        return await trio.to_thread.run_sync(work, thread_name=name, abandon_on_cancel=True, limiter=self._threads)

    def _gave_up(self) -> str:
        if self._handler.kind != "trio" and self._threads.available_tokens == 0:
            return f"got no answer within {self.timeout_s:g} s: calls that do not end occupy all its {THREADS} threads"
        return f"was given up after {self.timeout_s:g} s. It may nevertheless have had its effect"

    def _result(self, found: object) -> ToolResult:
        from hermesd.mcp.results import bounded

        if found is None:
            return ToolResult("[no result]", untrusted=True)
        if not isinstance(found, str):
            if not isinstance(found, dict | list | int | float):
                return self._failure(f"gave back {type(found).__name__} instead of text or JSON")
            try:
                text = msgspec.json.encode(found).decode()
            except (TypeError, ValueError, RecursionError, OverflowError) as error:
                return self._failure(f"gave back what is no JSON: {said(error)}")
            is_error = isinstance(found, dict) and bool(found.get("error"))
            return ToolResult(bounded(text), is_error=is_error, untrusted=True)
        return ToolResult(bounded(found) or "[empty result]", untrusted=True)

    def _failure(self, what: str) -> ToolResult:
        return ToolResult(f"{self.name} of the plugin {self.plugin!r} {what}.", is_error=True, untrusted=True)


def _call(context: ToolContext) -> Call:
    return Call(context.profile.name, context.workspace, context.session_id, context.call_id)


def _hint(error: BaseException) -> str:
    """Why a coroutine for asyncio fails on Trio: neither library says what to do here."""
    if any(words in str(error) for words in ("no running event loop", "unrecognized yield message")):
        return " (its handler is for asyncio: it must be registered with is_async=True)"
    return ""

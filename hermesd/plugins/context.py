"""``ctx``: what a plugin's ``register(ctx)`` is given.

Names and order of the arguments are those of hermes-agent's, so that its plugins work unchanged as far as they register
tools. Everything else that such a plugin may ask for is refused by name.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Literal

import trio

from hermesd.plugins.errors import PluginError, UnsupportedError
from hermesd.plugins.tool import THREADS, Handler, PluginTool

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from hermesd.store.records import Effect

TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", re.ASCII)
EFFECTS = ("read_only", "idempotent", "unsafe")
MAX_TOOLS = 64
MAX_TIMEOUT_S = 3600.0
MAX_NOTES = 32


class PluginContext:
    """One plugin in one profile, while it registers. ``taken`` are names of tools that are another's.

    ``env`` is the profile's .env. ``timeout_s`` bounds a call unless its tool says otherwise.
    """

    def __init__(
        self,
        name: str,
        *,
        profile: str,
        env: Mapping[str, str],
        timeout_s: float,
        taken: Collection[str],
    ) -> None:
        self.plugin_name = name
        self.profile_name = profile
        self.env = env
        self._timeout_s = timeout_s
        self._taken = taken
        self._threads = trio.CapacityLimiter(THREADS)
        self._tools: dict[str, PluginTool] = {}
        self._notes: list[str] = []
        self._is_open = True

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - never returns
        if not name.startswith("_"):
            self._note(f"looked for ctx.{name}, which hermesd does not have")
        step = "hermesd takes tools only (ctx.register_tool); see docs/plugins.md"
        raise UnsupportedError(self.plugin_name, f"asks for ctx.{name}, which is not supported", next_step=step)

    def register_tool(  # noqa: PLR0917 - the order is hermes-agent's
        self,
        name: str,
        toolset: str = "",
        schema: Mapping[str, Any] | None = None,  # JSON Schema
        handler: Callable[..., Any] | None = None,  # a plugin's own
        check_fn: Callable[[], object] | None = None,
        requires_env: Sequence[str] | str | None = None,
        is_async: bool = False,
        description: str = "",
        emoji: str = "",
        *,
        effect: Effect = "unsafe",
        timeout: float | None = None,
    ) -> None:
        """Offer a tool. ``handler(arguments)`` returns text, or what is written as JSON.

        A plain function runs in a thread, an ``async def`` on Trio, and one with ``is_async`` on an asyncio loop in a
        thread. ``schema`` is a JSON Schema of the arguments, or ``{name, description, parameters}``. ``effect`` says
        what repeating a call may do. With a ``check_fn`` that is false the tool is left out. ``toolset`` and
        ``emoji`` mean nothing here. Raises PluginError.
        """
        if not self._is_open:
            raise self._error("registers a tool after its register() has ended", "register all tools there")
        self._check_name(name)
        if not isinstance(schema, dict):
            raise self._error(f"gives no schema for {name!r}", "give a JSON Schema (a dict) as schema=")
        if effect not in EFFECTS:
            raise self._error(f"says {effect!r} of the effect of {name!r}", f"use one of {', '.join(EFFECTS)}")
        found = self._handler(name, handler, is_async=is_async)
        needed = [requires_env] if isinstance(requires_env, str) else requires_env or ()
        if missing := [each for each in needed if not self.env.get(each)]:
            self._note(f"{name} is left out: {', '.join(missing)} is not set")
            return
        if check_fn is not None and not check_fn():
            self._note(f"{name} is left out: its own check says that it cannot work here")
            return
        text, parameters = self._cleaned(name, schema, description)
        self._tools[name] = PluginTool(
            self.plugin_name,
            name,
            description=text,
            parameters=parameters,
            handler=found,
            effect=effect,
            timeout_s=self._bound(name, timeout),
            threads=self._threads,
        )

    def close(self) -> tuple[list[PluginTool], list[str]]:
        """After ``register`` has ended: its tools, and what a person should know. Nothing is taken any more."""
        self._is_open = False
        return list(self._tools.values()), list(self._notes)

    # -- checks --------------------------------------------------------------------------------------------------------

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
            raise self._error(f"calls a tool {str(name)[:80]!r}", "use letters, digits, _ and -, at most 64")
        if name.startswith("mcp__"):
            raise self._error(f"calls a tool {name!r}", "names with mcp__ are those of MCP servers: choose another")
        if name in self._taken or name in self._tools:
            raise self._error(f"calls a tool {name!r}, which there is already", "give it another name")
        if len(self._tools) >= MAX_TOOLS:
            raise self._error(f"registers more than {MAX_TOOLS} tools", "divide it into several plugins")

    def _handler(self, tool: str, handler: object, *, is_async: bool) -> Handler:
        if not callable(handler):
            raise self._error(f"gives no handler for {tool!r}", "give a function as handler=")
        try:
            signature = inspect.signature(handler)
            wants_context = "context" in signature.parameters
            signature.bind({}, **({"context": None} if wants_context else {}))
        except (TypeError, ValueError):
            what = f"gives a handler for {tool!r} that cannot be called with the arguments as one dict"
            raise self._error(what, "write it as def handler(arguments)") from None
        called = type(handler).__call__ if not inspect.isroutine(handler) else handler
        is_coroutine = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(called)
        if is_async and not is_coroutine:
            raise self._error(f"says is_async of a handler for {tool!r} that is no async def", "leave is_async out")
        kind: Literal["thread", "trio", "asyncio"] = "thread" if not is_coroutine else "asyncio" if is_async else "trio"
        return Handler(handler, kind, wants_context)

    def _bound(self, tool: str, timeout: float | None) -> float:
        if timeout is None:
            return self._timeout_s
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT_S:
            raise self._error(f"gives {tool!r} a timeout of {timeout!r}", f"use seconds up to {MAX_TIMEOUT_S:g}")
        return float(timeout)

    def _cleaned(self, name: str, schema: dict[str, Any], description: str) -> tuple[str, dict[str, object]]:
        """Description and parameters as a model may see them."""
        from hermesd.mcp.sanitize import MAX_DESCRIPTION, clean, clean_schema

        flags: set[str] = set()
        inner = schema.get("parameters")
        if isinstance(inner, dict) and "properties" not in schema:
            description = description or schema.get("description", "")
            schema = inner
        text = clean(description, MAX_DESCRIPTION, flags, "the description")
        parameters = clean_schema(schema, flags)
        for flag in sorted(flags):
            self._note(f"{name}: {flag}")
        return text or f"{name} of the plugin {self.plugin_name}", parameters

    def _note(self, text: str) -> None:
        if len(self._notes) < MAX_NOTES and text not in self._notes:
            self._notes.append(text)

    def _error(self, what: str, next_step: str) -> PluginError:
        return PluginError(self.plugin_name, what, next_step=next_step)

"""What ``ctx`` takes from a plugin, and what it refuses by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from hermesd.plugins.context import MAX_TOOLS, PluginContext
from hermesd.plugins.errors import PluginError, UnsupportedError
from hermesd.tools.registry import builtin_names

SCHEMA = {"type": "object", "properties": {"who": {"type": "string"}}, "required": ["who"]}


def context(**env: str) -> PluginContext:
    return PluginContext("p", profile="default", env=env, timeout_s=7.0, taken=builtin_names() | {"other"})


def handler(arguments: Mapping[str, Any]) -> str:
    return "x"


async def coroutine(arguments: Mapping[str, Any], **more: object) -> str:
    return "x"


def test_a_tool_is_taken_in_the_form_of_hermes_agent() -> None:
    """Positions, a schema with name and parameters, and keys that mean nothing here."""
    ctx = context()
    schema = {"name": "greet", "description": "Greet somebody.", "parameters": SCHEMA}
    ctx.register_tool("greet", "social", schema, handler, emoji="x")
    [tool], notes = ctx.close()
    assert (tool.name, tool.description, tool.timeout_s, notes) == ("greet", "Greet somebody.", 7.0, [])
    assert tool.parameters["required"] == ["who"]
    assert tool.effect({}) == "unsafe"


def test_effect_and_timeout_are_the_plugins_to_say() -> None:
    """Its code runs in the daemon anyway."""
    ctx = context()
    ctx.register_tool("greet", schema=SCHEMA, handler=coroutine, effect="read_only", timeout=3, is_async=True)
    [tool], _ = ctx.close()
    assert (tool.effect({}), tool.timeout_s) == ("read_only", 3.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "read_file"}, "'read_file', which there is already"),
        ({"name": "other"}, "'other', which there is already"),
        ({"name": "mcp__a__b"}, "names with mcp__"),
        ({"name": "a b"}, "use letters"),
        ({"name": 7}, "use letters"),
        ({"schema": None}, "gives no schema"),
        ({"handler": None}, "gives no handler"),
        ({"handler": lambda: None}, "cannot be called with the arguments as one dict"),
        ({"handler": lambda one, two: None}, "cannot be called with the arguments as one dict"),
        ({"is_async": True}, "is no async def"),
        ({"effect": "harmless"}, "'harmless' of the effect"),
        ({"timeout": 0}, "a timeout of 0"),
        ({"timeout": "5"}, "a timeout of '5'"),
    ],
)
def test_a_tool_that_could_not_work_is_refused_with_the_plugins_name(arguments: dict[str, Any], words: str) -> None:
    """At registration, and not when a model calls it."""
    ctx = context()
    with pytest.raises(PluginError) as caught:
        ctx.register_tool(**{"name": "greet", "schema": SCHEMA, "handler": handler, **arguments})
    assert words in str(caught.value)
    assert str(caught.value).startswith("plugin p: ")
    assert ctx.close()[0] == []


def test_the_same_name_twice_and_too_many_tools_are_refused() -> None:
    """Bounds of one plugin."""
    ctx = context()
    for number in range(MAX_TOOLS):
        ctx.register_tool(f"tool{number}", schema=SCHEMA, handler=handler)
    with pytest.raises(PluginError, match="there is already"):
        ctx.register_tool("tool0", schema=SCHEMA, handler=handler)
    with pytest.raises(PluginError, match=f"more than {MAX_TOOLS}"):
        ctx.register_tool("another", schema=SCHEMA, handler=handler)


@pytest.mark.parametrize("name", ["register_hook", "register_command", "register_platform", "llm", "anything"])
def test_what_is_not_supported_is_refused_loudly(name: str) -> None:
    """A plugin that asks first is told no and can do without; either way a person can see it."""
    ctx = context()
    with pytest.raises(UnsupportedError, match=f"plugin p.*ctx.{name}|asks for ctx.{name}"):
        getattr(ctx, name)
    assert not hasattr(ctx, name)
    assert ctx.close()[1] == [f"looked for ctx.{name}, which hermesd does not have"]


def test_a_tool_whose_conditions_do_not_hold_is_left_out_and_that_is_told() -> None:
    """A variable that is not set, or its own check."""
    ctx = context(HAVE="1")
    ctx.register_tool("one", schema=SCHEMA, handler=handler, requires_env=["HAVE", "LACK"])
    ctx.register_tool("two", schema=SCHEMA, handler=handler, check_fn=lambda: False)
    ctx.register_tool("three", schema=SCHEMA, handler=handler, requires_env=["HAVE"], check_fn=lambda: True)
    tools, notes = ctx.close()
    assert [tool.name for tool in tools] == ["three"]
    assert ["LACK" in notes[0], "its own check" in notes[1]] == [True, True]


def test_an_object_that_is_called_asynchronously_is_a_coroutine_function_too() -> None:
    """However a plugin spells its handler."""

    class Handler:
        async def __call__(self, arguments: Mapping[str, Any]) -> str:
            return "x"

    ctx = context()
    ctx.register_tool("greet", schema=SCHEMA, handler=Handler(), is_async=True, requires_env=())
    assert len(ctx.close()[0]) == 1


def test_nothing_is_registered_after_the_end() -> None:
    """A plugin cannot add tools behind the back of who looked at its list."""
    ctx = context()
    ctx.close()
    with pytest.raises(PluginError, match="after its register"):
        ctx.register_tool("greet", schema=SCHEMA, handler=handler)


def test_texts_for_the_model_are_cleaned_and_that_is_told() -> None:
    """Hidden characters and loops do not reach it."""
    ctx = context()
    schema = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    ctx.register_tool("greet", schema=schema, handler=handler, description="Greet\u202e somebody")
    [tool], notes = ctx.close()
    assert tool.description == "Greet somebody"
    assert "greet: hidden characters in the description" in notes

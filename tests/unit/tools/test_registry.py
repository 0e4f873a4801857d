"""Which tools a profile has, and whether a call fits one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import ConfigError
from hermesd.store.records import Effect
from hermesd.tools import schema
from hermesd.tools.base import Tool, ToolContext, ToolResult
from hermesd.tools.registry import ToolRegistry, check_toolsets, toolset_names

DEFAULT = ["files", "terminal", "todo", "clarify", "cron"]
REGISTRY = ToolRegistry(DEFAULT)


class Extra:
    """A tool from elsewhere."""

    name = "mcp__x__y"
    description = "extra"
    parameters: dict[str, object] = {"type": "object", "properties": {"n": {"type": ["integer", "null"]}}}  # noqa: RUF012 - as the protocol has it

    def effect(self, arguments: Mapping[str, object]) -> Effect:
        return "unsafe"

    async def run(self, arguments: Mapping[str, object], context: ToolContext) -> ToolResult:
        return ToolResult("ran")


def tool(name: str) -> Tool:
    found = REGISTRY.get(name)
    assert found
    return found


def test_the_default_toolsets_have_these_tools() -> None:
    """In a fixed order, so that a model's prompt cache holds."""
    names = [
        "list_files",
        "patch_file",
        "read_file",
        "search_files",
        "write_file",
        "terminal",
        "process",
        "todo",
        "clarify",
        "cron",
    ]
    assert sorted(REGISTRY.names()) == sorted(names)
    assert REGISTRY.names() == ToolRegistry(DEFAULT).names()
    assert [item.name for item in REGISTRY.definitions()] == REGISTRY.names()


def test_every_toolset_can_be_loaded_and_has_tools() -> None:
    """What is named is there."""
    assert set(DEFAULT) <= set(toolset_names())
    for name in toolset_names():
        assert ToolRegistry([name]).names()


def test_names_of_a_hermes_agent_home_are_understood() -> None:
    """`file` is files, `hermes-cli`, `all` and `*` are everything; a toolset named twice counts once."""
    assert ToolRegistry(["all"]).names() == ToolRegistry(["*"]).names() == REGISTRY.names()
    assert ToolRegistry(["file"]).names() == ToolRegistry(["files"]).names()
    assert ToolRegistry(["hermes-cli", "files"]).names() == REGISTRY.names()


@pytest.mark.parametrize("name", ["termnal", "file s", "base", "__init__", "../x", ""])
def test_an_unknown_toolset_is_a_configuration_error(name: str) -> None:
    """With the nearest name, before anything is imported."""
    with pytest.raises(ConfigError, match="there is no toolset"):
        ToolRegistry([name])
    with pytest.raises(ConfigError):
        check_toolsets([name])


def test_the_nearest_toolset_is_named() -> None:
    """So that a slip of the pen is mended at once."""
    with pytest.raises(ConfigError) as caught:
        ToolRegistry(["termnal"])
    assert caught.value.next_step == "did you mean 'terminal'?"


def test_tools_from_elsewhere_stand_beside_ours() -> None:
    """But not under the same name."""
    assert ToolRegistry([], extra=[Extra()]).names() == ["mcp__x__y"]
    with pytest.raises(ConfigError, match="two tools are called"):
        ToolRegistry([], extra=[Extra(), Extra()])


def test_schemas_are_plain_and_self_contained() -> None:
    """No references, no titles: every provider takes them."""
    for item in REGISTRY.definitions():
        text = msgspec.json.encode(item.parameters).decode()
        assert "$ref" not in text
        assert '"title"' not in text
        assert item.parameters["type"] == "object"
        assert item.parameters["additionalProperties"] is False
        assert item.description


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("read_file", {}, "the arguments lack 'path', which is required"),
        ("read_file", {"path": 3}, "path must be a string, not a number"),
        ("read_file", {"path": None}, "path must be a string, not null"),
        ("read_file", {"path": "a", "offset": 0}, "offset must be at least 1, not 0"),
        ("read_file", {"path": "a", "offset": True}, "offset must be an integer, not true or false"),
        ("read_file", {"path": "a", "lim": 3}, "the arguments have an unknown name 'lim': did you mean 'limit'"),
        ("read_file", {"path": "a", "q": 3}, "the arguments have an unknown name 'q': known are path, offset, limit"),
        ("terminal", {"command": ""}, "command must be at least 1 characters, not 0"),
        ("todo", {"todos": [{}]}, "todos[0] lacks 'content'"),
        ("todo", {"todos": "x"}, "todos must be a list, not a string"),
        ("todo", {"todos": [{"content": "x"}] * 101}, "todos may have at most 100 items, not 101"),
        ("process", {"action": "stop"}, "action must be one of kill, list, output, wait, not 'stop'"),
    ],
)
def test_bad_arguments_get_a_sentence_the_model_can_act_on(
    name: str, arguments: dict[str, object], expected: str
) -> None:
    """What is wrong, where, and what would be right."""
    assert REGISTRY.complaint(tool(name), arguments) == f"{name} was not called: {expected}"


@pytest.mark.parametrize("arguments", [{"path": "a"}, {"path": "a", "offset": 2.0, "limit": 5}])
async def test_good_arguments_are_taken(context: ToolContext, arguments: dict[str, object]) -> None:
    """A whole number may be spelt 2.0; what passes the check is understood by the tool."""
    (context.workspace / "a").write_text("1\n2\n")
    assert REGISTRY.complaint(tool("read_file"), arguments) is None
    assert not (await tool("read_file").run(arguments, context)).is_error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from(REGISTRY.names()),
    st.dictionaries(st.sampled_from(["path", "command", "todos", "action", "x"]), JSON),
)
def test_no_arguments_break_the_check_or_the_judgement(name: str, arguments: dict[str, object]) -> None:
    """Arguments come from a model: anything may be in them."""
    REGISTRY.complaint(tool(name), arguments)
    assert tool(name).effect(arguments) in ("read_only", "idempotent", "unsafe")


def test_a_foreign_schema_is_checked_as_far_as_it_is_understood() -> None:
    """An MCP server's schema may say more than we know."""
    extra = Extra()
    registry = ToolRegistry([], extra=[extra])
    assert registry.complaint(extra, {"n": None, "anything": {}}) is None
    assert (
        registry.complaint(extra, {"n": "x"}) == "mcp__x__y was not called: n must be an integer or null, not a string"
    )
    assert schema.complaint({"type": "object", "properties": "nonsense", "required": 3}, {"a": 1}) is None


def test_an_unknown_tool_is_said_with_the_nearest_one() -> None:
    """Models misremember names."""
    assert REGISTRY.unknown("readfile") == "there is no tool 'readfile': did you mean 'read_file'"


def test_an_idle_registry_imports_no_tool() -> None:
    """Checking the names is enough until somebody asks for a tool."""
    code = (
        f"import sys; from hermesd.tools.registry import ToolRegistry; registry = ToolRegistry({DEFAULT}); "
        "print('hermesd.tools.files' in sys.modules, len(registry.definitions()), 'hermesd.tools.files' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "10", "True"]


def test_loading_the_tools_imports_nothing_heavy() -> None:
    """An idle daemon has these in memory: they bring no client, no YAML, no psutil."""
    code = (
        "import sys; from hermesd.tools.registry import ToolRegistry; "
        f"ToolRegistry({DEFAULT}).definitions(); "
        "heavy = ('httpx2', 'h11', 'yaml', 'ruamel', 'rich', 'psutil', 'json'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

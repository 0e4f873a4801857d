"""What is offered, and what the registry makes of it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import UsageError
from hermesd.rpc.methods import ROUTES
from hermesd.rpc.peer import RANK
from hermesd.serving.backend import METHODS
from hermesd.serving.catalog import offered
from hermesd.serving.registry import Registry, Template, Tool


async def nothing(*_: Any) -> dict[str, Any]:
    return {}


@given(st.text(min_size=1, max_size=40))
def test_a_template_finds_its_variable_in_any_uri_made_of_it(value: str) -> None:
    """Percent-encoded as RFC 6570 says."""
    template = Template("hermes://sessions/{session}", "session", "", nothing)
    assert template.match(f"hermes://sessions/{quote(value, safe='')}") == {"session": value}


@pytest.mark.parametrize("uri", ["hermes://sessions/", "hermes://sessions/a/b", "hermes://session/a", "x", ""])
def test_a_template_does_not_match_other_uris(uri: str) -> None:
    """One variable is one segment."""
    assert Template("hermes://sessions/{session}", "session", "", nothing).match(uri) is None


def test_every_tool_has_what_a_client_needs() -> None:
    """A name every client takes, a sentence, and a schema whose every argument is described and that takes no other."""
    registry = offered()
    assert len(registry.tools) == 12
    for tool in registry.tools.values():
        assert re.fullmatch(r"[a-z_]{1,64}", tool.name)
        assert tool.description.endswith(".")
        assert tool.schema["type"] == "object"
        assert tool.schema["additionalProperties"] is False
        properties: Any = tool.schema.get("properties", {})
        assert all(each.get("description") for each in properties.values()), tool.name


def test_only_one_tool_changes_anything() -> None:
    """The others only look."""
    assert [tool.name for tool in offered().tools.values() if not tool.read_only] == ["messages_send"]


def test_no_method_on_offer_is_for_more_than_a_user_who_may_chat() -> None:
    """None stops, changes, approves or answers anything."""
    assert all(RANK[ROUTES[name].method.role] <= RANK["chat"] for name in METHODS)
    assert {name for name in METHODS if ROUTES[name].method.mutating} == {"chat.send"}


def test_wrong_arguments_are_named() -> None:
    """Before any handler sees them."""
    tool = offered().tools["sessions_read"]
    with pytest.raises(UsageError, match="lack 'session'"):
        tool.check({"sesion": "s"})
    with pytest.raises(UsageError, match="limit may be at most 200"):
        tool.check({"session": "s", "limit": 10_000})
    with pytest.raises(UsageError, match="limit must be an integer"):
        tool.check({"session": "s", "limit": "all"})


def test_a_name_is_given_once() -> None:
    """A later part cannot replace a tool of an earlier one."""
    registry = Registry()
    tool = Tool("t", "", "", {"type": "object"}, nothing)
    registry.add_tool(tool)
    with pytest.raises(AssertionError):
        registry.add_tool(tool)

"""``mcp.definition``: a tool in its server's own words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from hermesd.config.schema import McpServerConfig
from hermesd.errors import NotFoundError, UsageError
from hermesd.mcp.hub import Entry
from hermesd.mcp.lists import Listing
from hermesd.mcp.typed import mcp_command
from hermesd.rpc import mcp as queries
from hermesd.rpc.context import Daemon

SCHEMA = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": {"a": {"$anchor": "b"}}}


def daemon_with(*tools: dict[str, Any]) -> Daemon:
    entry = Entry("srv", McpServerConfig(url="http://127.0.0.1/"), listing=Listing(tools=list(tools), capabilities={}))
    hub = SimpleNamespace(entry=lambda _: entry, command=lambda *words: mcp_command("coder", *words))
    return cast(Daemon, SimpleNamespace(mcp=lambda _: hub))


def test_a_definition_is_shown_as_the_server_has_sent_it() -> None:
    """Also what is cleaned away for a model: a person who compares needs both."""
    tool = {"name": "t", "description": "hid\u200bden", "inputSchema": SCHEMA}
    assert queries.definition(daemon_with(tool), "", "srv", "t").definition == tool


def test_a_tool_that_is_not_there_or_too_large_is_refused() -> None:
    """Each with the next step, or the bound."""
    with pytest.raises(NotFoundError, match="no tool 'u'") as caught:
        queries.definition(daemon_with({"name": "t"}), "", "srv", "u")
    assert caught.value.next_step == "hermesctl -p coder mcp tools srv"
    with pytest.raises(UsageError, match="larger than"):
        queries.definition(daemon_with({"name": "t", "description": "x" * 2**20}), "", "srv", "t")

"""A server's tool as ours: results as text, failures as sentences that a model can act on."""

from __future__ import annotations

import json

import pytest

from hermesd.config.schema import McpServerConfig
from hermesd.mcp import results, tool
from hermesd.mcp.catalog import Offer
from hermesd.mcp.errors import McpError, McpErrorKind


class Access:
    """Of a server that is configured, or of one that is not any more."""

    is_there = True

    def reach(self, server: str) -> tuple[Access, McpServerConfig]:
        if not self.is_there:
            raise McpError("it is disabled", kind="down")
        return self, McpServerConfig(command="x")

    def login_command(self, server: str) -> str:
        return f"hermesctl mcp login {server}"


def test_a_failed_sign_in_is_an_object_with_the_next_step() -> None:
    """As hermes-agent's callers know it: error, needs_reauth, server."""
    error = McpError("the refresh token was revoked", kind="auth")
    found = tool.failure(Access(), "github", "mcp__github__x", error)  # type: ignore[arg-type]  # see Access
    body = json.loads(found.text)
    assert (body["needs_reauth"], body["server"]) == (True, "github")
    assert "hermesctl mcp login github" in body["error"]
    assert found.is_error


@pytest.mark.parametrize("kind", ["down", "timeout", "protocol", "cancelled", "tool"])
def test_every_failure_names_the_tool_and_what_happened(kind: McpErrorKind) -> None:
    """And is not to be trusted, because the server may have written it."""
    found = tool.failure(Access(), "s", "mcp__s__x", McpError("it broke", kind=kind))  # type: ignore[arg-type]  # see Access
    assert "mcp__s__x" in found.text
    assert "it broke" in found.text
    assert found.is_error
    assert found.untrusted


@pytest.mark.parametrize(("is_there", "said"), [(True, "try again later"), (False, "do without it")])
def test_only_a_server_that_may_come_back_is_worth_another_try(is_there: bool, said: str) -> None:
    """One that was disabled or removed is not; the model must not wait for it."""
    access = Access()
    access.is_there = is_there
    found = tool.failure(access, "s", "mcp__s__x", McpError("it broke", kind="down"))  # type: ignore[arg-type]  # see Access
    assert said in found.text
    assert ("goes on trying" in found.text) is is_there


def test_blocks_of_every_kind_have_their_text() -> None:
    """What cannot be shown is named with its size."""
    blocks = [
        {"type": "text", "text": "one"},
        {"type": "image", "mimeType": "image/png", "data": "AAAA"},
        {"type": "resource", "resource": {"uri": "file:///a", "text": "two"}},
        {"type": "resource_link", "uri": "file:///b", "name": "b"},
        {"type": "hologram"},
    ]
    assert results.call_text({"content": blocks}).splitlines() == [
        "one",
        "[image: image/png, 3 bytes, not shown]",
        "two",
        "[resource file:///b: b]",
        "[a block of kind hologram, not shown]",
    ]
    assert results.call_text({"content": [], "structuredContent": {"a": 1}}) == '{"a":1}'
    assert results.call_text({}) == "[empty result]"


def test_a_result_of_megabytes_keeps_its_ends() -> None:
    """The middle is left out, and that is said."""
    text = results.call_text({"content": [{"type": "text", "text": "a" * 3_000_000 + "z"}]})
    assert len(text) < results.MAX_TEXT + 100
    assert text.endswith("z")
    assert "characters left out" in text


class Answering(Access):
    """A server that is ready and answers every call with this."""

    state = "ready"

    def __init__(self, answer: dict[str, object]) -> None:
        self.answer = answer

    async def checked(self, server: str) -> None:
        return

    def is_current(self, offer: Offer) -> bool:
        return True

    async def call_tool(self, name: str, arguments: object = None, **_: object) -> dict[str, object]:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"structuredContent": {"n": 1}}, ""),
        ({"structuredContent": {"n": "1"}}, "it.n is not of the type integer"),
        ({"content": []}, "no structured content"),
        ({"content": [], "isError": True}, ""),
    ],
)
async def test_an_answer_that_breaks_its_own_schema_is_a_failure(answer: dict[str, object], said: str) -> None:
    """What an error looks like is promised by nobody."""
    schema: dict[str, object] = {"type": "object", "properties": {"n": {"type": "integer"}}}
    offer = Offer("s", "t", "tool", "x", {}, "unsafe", output=schema)
    access: Access = Answering(answer)
    if not said:
        await tool.call(access, offer, {})  # type: ignore[arg-type]  # see Access
        return
    with pytest.raises(McpError, match=said) as failed:
        await tool.call(access, offer, {})  # type: ignore[arg-type]  # see Access
    assert failed.value.kind == "protocol"

"""Settings of MCP servers as they are to be written, and which variables nothing needs any more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.config.server_changes import plain_of, prepare, unneeded
from hermesd.config.server_secrets import holds_user, shown_url
from hermesd.config.server_variables import references
from hermesd.errors import ConfigError, UsageError

SECRETS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8).map("geheim-{}".format)
NAMES = st.sampled_from(["a", "a-b", "a_b", "2fa", "openai"])
VARIABLES = st.sampled_from(["KEY", "OTHER", "A_KEY", "OPENAI_API_KEY"])
SERVERS = st.fixed_dictionaries(
    {"command": st.just("x")},
    optional={
        "env": st.dictionaries(VARIABLES, SECRETS, max_size=3),
        "headers": st.dictionaries(st.sampled_from(["Authorization", "X-Key", "X_Key"]), SECRETS, max_size=3),
        "args": st.lists(SECRETS.map("--token={}".format), max_size=2),
        "oauth": st.fixed_dictionaries({"client_secret": SECRETS}),
    },
)


def in_force(value: Any, variables: dict[str, str]) -> Any:
    """What the loader would make of it."""
    if isinstance(value, dict):
        return {name: in_force(below, variables) for name, below in value.items()}
    if isinstance(value, list):
        return [in_force(below, variables) for below in value]
    for name in references(value):
        value = value.replace(f"${{{name}}}", variables[name])
    return value


@given(st.dictionaries(NAMES, SERVERS, max_size=4), st.dictionaries(VARIABLES, SECRETS))
def test_whatever_servers_are_set_none_of_their_secrets_is_written_and_all_are_in_force(
    servers: dict[str, Any], known: dict[str, str]
) -> None:
    """Also several at once whose variables would have one name; none that is there gets another value."""
    found = prepare({}, known, [("mcp_servers", servers)])
    (written,) = found.values
    assert "geheim" not in repr(written)
    assert in_force(written, {**known, **found.variables}) == servers
    assert {**found.variables, **known} == {**known, **found.variables}


@given(st.dictionaries(VARIABLES, SECRETS, min_size=1), NAMES)
def test_what_was_set_leaves_nothing_behind(env: dict[str, str], name: str) -> None:
    """Every variable that a server got goes with it, but those that hermesd reads by itself."""
    found = prepare({}, {}, [(f"mcp_servers.{name}", {"command": "x", "env": env})])
    tree = {"mcp_servers": {name: found.values[0]}}
    gone, left = unneeded(tree, [("mcp_servers", name)], b"", b"", lambda each, _: each == "OPENAI_API_KEY")
    assert sorted([*gone, *left]) == sorted(found.variables)
    assert set(left) <= {"OPENAI_API_KEY"}


WORDS = st.text(st.characters(codec="ascii"), max_size=9)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
)


@given(JSON)
def test_any_json_is_read_as_it_stands(value: Any) -> None:
    """Texts where settings are texts: a number of env is the word that was typed."""
    text = json.dumps({"timeout": value})
    assert plain_of("mcp_servers.n", text) == {"timeout": value}
    if isinstance(value, str):
        assert plain_of("mcp_servers.n.env", json.dumps({"K": value})) == {"K": value}


@pytest.mark.parametrize(
    "text", ["{a: 1}, b: {c: 2}", "{a: 1", "[1]]", "{a: 1, a: 2}", "{a: !!python/none x}", "{*b: 1}"]
)
def test_what_is_no_yaml_is_refused_without_its_words(text: str) -> None:
    """And with a next step."""
    with pytest.raises(ConfigError) as caught:
        plain_of("mcp_servers.n", text.replace("1", "geheim"))
    assert "geheim" not in str(caught.value)
    assert caught.value.next_step


def test_a_number_of_the_environment_stays_as_it_was_typed() -> None:
    """A PIN has leading zeros, and off is a word."""
    found = plain_of("mcp_servers.n", "{env: {PIN: 007, X: off}, args: [1e5], timeout: 7, enabled: false}")
    assert found == {"env": {"PIN": "007", "X": "off"}, "args": ["1e5"], "timeout": 7, "enabled": False}


@pytest.mark.parametrize(
    ("url", "is_so", "shown"),
    [
        ("https://h/mcp", False, "https://h/mcp"),
        ("https://h/a@b?c@d", False, "https://h/a@b?***"),
        ("https://u:p@h/mcp", True, "https://***@h/mcp"),
        ("https://geheim@h:1/mcp?x", True, "https://***@h:1/mcp?***"),
        ("https://u@v@h", True, "https://***@h"),
        ("https://h?a@b", False, "https://h?***"),
    ],
)
def test_a_user_before_the_host_is_seen_and_not_shown(url: str, is_so: bool, shown: str) -> None:
    """Only there: an @ in the path or the query is none."""
    assert holds_user(url) is is_so
    assert shown_url(url) == shown


def test_an_argument_that_is_set_beside_the_url_is_not_what_it_takes_away() -> None:
    """What is set in the same call is meant."""
    tree = {"mcp_servers": {"n": {"command": "x", "args": ["old"]}}}
    found = prepare(tree, {}, [("mcp_servers.n.url", "https://h/"), ("mcp_servers.n.args", ["new"])])
    assert found.dropped == [("mcp_servers", "n", "command")]
    with pytest.raises(UsageError):
        prepare(tree, {}, [("mcp_servers.n.url", "https://h/"), ("mcp_servers.n.command", "y")])

"""Names of servers' tools are valid, unique, and independent of the order in which servers list them."""

from __future__ import annotations

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp.names import MAX_NAME, assign

WORDS = st.text(min_size=1, max_size=80)


@given(st.lists(st.tuples(WORDS, WORDS), max_size=30), st.randoms())
def test_every_tool_has_a_valid_name_of_its_own(keys: list[tuple[str, str]], rng: random.Random) -> None:
    """Whatever servers call them, and in whatever order they come."""
    names = assign(keys)
    assert names.keys() == set(keys)
    assert len(set(names.values())) == len(names)
    assert all(re.fullmatch(r"mcp__[A-Za-z0-9_]+", name) and len(name) <= MAX_NAME for name in names.values())
    rng.shuffle(keys)
    assert assign(keys) == names


def test_other_characters_become_underscores() -> None:
    """As the contract says."""
    assert assign([("file-system", "read.text")]) == {("file-system", "read.text"): "mcp__file_system__read_text"}


def test_the_tool_that_needs_no_change_keeps_a_contested_name() -> None:
    """So that an addition to a server does not rename what was there."""
    names = assign([("s", "a.b"), ("s", "a_b"), ("s", "a-b")])
    assert names["s", "a_b"] == "mcp__s__a_b"
    assert len(set(names.values())) == 3


def test_it_keeps_it_also_where_the_servers_name_had_to_be_changed() -> None:
    """A server called file-system has as much right to stable names as one called files."""
    names = assign([("file-system", "a.b"), ("file-system", "a_b")])
    assert names["file-system", "a_b"] == "mcp__file_system__a_b"
    assert len(set(names.values())) == 2


def test_no_server_can_take_a_name_that_was_made_for_another() -> None:
    """Case 13: the hash of a name is no secret, so a tool may be called as another one is going to be called."""
    victim = ("a__b", "c")
    made = assign([victim, ("a", "b__c")])
    shadow = ("a", made[victim].removeprefix("mcp__a__"))
    names = assign([shadow, victim, ("a", "b__c")])
    assert names[victim] == made[victim]
    assert len(set(names.values())) == 3

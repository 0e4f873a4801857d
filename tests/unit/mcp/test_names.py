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

"""The three-way merge of config.yaml, as data and as a file: the cases of the specification, and any others."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermesd.activation.config_file import merged
from hermesd.activation.merge import merge, normal, result, same
from hermesd.activation.targets import Found
from hermesd.config.plain import leaves, tree_of
from hermesd.errors import ConfigError

Tree = dict[str, Any]

CASES: dict[str, tuple[Tree, Tree, Tree, Tree]] = {
    "fresh": ({}, {}, {"model": {"default": "a"}}, {"model": {"default": "a"}}),
    "declared overrides": ({"a": 1}, {}, {"a": 2}, {"a": 2}),
    "user's keys kept": ({"skills": {"disabled": ["x"]}}, {}, {"a": 1}, {"skills": {"disabled": ["x"]}, "a": 1}),
    "mixed": ({"a": 1, "b": 2}, {"a": 1}, {"a": 3, "c": 4}, {"a": 3, "b": 2, "c": 4}),
    "MCP servers added to": (
        {"mcp_servers": {"mine": {"command": "x"}}},
        {},
        {"mcp_servers": {"fs": {"command": "npx"}}},
        {"mcp_servers": {"mine": {"command": "x"}, "fs": {"command": "npx"}}},
    ),
    "nested": ({"a": {"b": {"c": 1, "d": 2}}}, {}, {"a": {"b": {"c": 9}}}, {"a": {"b": {"c": 9, "d": 2}}}),
    "dropped key": ({"a": 1, "b": {"c": 2, "d": 3}}, {"a": 1, "b": {"c": 2}}, {}, {"b": {"d": 3}}),
    "dropped section": ({"a": {"b": {"c": 2}}, "z": 1}, {"a": {"b": {"c": 2}}}, {}, {"z": 1}),
    "dropped key that the user edited": ({"a": 5}, {"a": 1}, {}, {"a": 5}),
    "list replaced": ({"a": [1, 2]}, {"a": [1]}, {"a": [3]}, {"a": [3]}),
    "url becomes command": (
        {"mcp_servers": {"s": {"url": "http://h", "timeout": 5}}},
        {"mcp_servers": {"s": {"url": "http://h"}}},
        {"mcp_servers": {"s": {"command": "x"}}},
        {"mcp_servers": {"s": {"command": "x", "timeout": 5}}},
    ),
    "edited url becomes command": (
        {"mcp_servers": {"s": {"url": "http://other"}}},
        {"mcp_servers": {"s": {"url": "http://h"}}},
        {"mcp_servers": {"s": {"command": "x"}}},
        {"mcp_servers": {"s": {"command": "x"}}},
    ),
    "model as a word": (
        {"model": "gpt"},
        {},
        {"model": {"provider": "openai"}},
        {"model": {"default": "gpt"} | {"provider": "openai"}},
    ),
    "declared model as a word": (
        {"model": {"default": "a", "provider": "p"}},
        {},
        {"model": "b"},
        {"model": {"default": "b", "provider": "p"}},
    ),
    "a platform's key under extra": (
        {"platforms": {"telegram": {"extra": {"home_channel": "1", "reply": "x"}}}},
        {},
        {"platforms": {"telegram": {"home_channel": "2"}}},
        {"platforms": {"telegram": {"extra": {"reply": "x"}, "home_channel": "2"}}},
    ),
    "a word in the place of a section": ({"a": "word"}, {}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    "true is no 1": ({"a": 1}, {}, {"a": True}, {"a": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_cases_of_the_specification(case: str) -> None:
    """Each by its name, as data; and a second time nothing is to be done."""
    live, last, declared, expected = CASES[case]
    found = result(live, merge(live, [last] if last else [], declared))
    assert same(found, expected)
    assert merge(found, [declared], declared) == []


def test_a_run_that_was_cut_short_is_told_from_the_user() -> None:
    """What it had begun to put there counts as applied, so it goes with the next manifest."""
    live = {"a": 1, "half": 2, "mine": 3}
    assert result(live, merge(live, [{"a": 1}, {"a": 1, "half": 2}], {"a": 1})) == {"a": 1, "mine": 3}


# -- any of them -------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["a", "b", "model", "mcp_servers", "platforms", "s", "url", "command", "extra", "1", "yes", "x y"]
)
WORDS = st.one_of(
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.integers(-(10**9), 10**9).map(lambda number: number / 1000),
    st.sampled_from(
        [
            "",
            "yes",
            "1",
            "1.10",
            "~",
            "null",
            "true",
            "0x1",
            "a: b",
            "# c",
            "- d",
            "2026-01-01",
            "${X}",
            "{",
            "a\nb\n",
            "é",
        ]
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8),
)
VALUES = st.recursive(
    WORDS | st.lists(WORDS, max_size=3),
    lambda below: st.dictionaries(NAMES, below, max_size=3) | st.lists(below, max_size=2),
    max_leaves=8,
)
TREES = st.dictionaries(NAMES, VALUES, max_size=4)


def _given_way(path: tuple[str, ...], declared: Tree) -> bool:
    """Whether a user's key is, or cannot stand beside, something declared."""
    node: Any = declared
    for name in path:
        if not isinstance(node, dict) or name not in node:
            break
        node = node[name]
    else:
        return True
    if not isinstance(node, dict):
        return True
    section = declared
    for name in path[:-1]:
        section = section.get(name, {}) if isinstance(section, dict) else {}
    rival = {"url": "command", "command": "url", "args": "url"}.get(path[-1])
    if path[0] == "mcp_servers" and isinstance(section, dict) and rival in section:
        return True
    return path[0] == "platforms" and "extra" in path


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no fault of the trees
@given(TREES, TREES, TREES)
def test_every_user_key_stays_and_every_declared_one_is_there(live: Tree, last: Tree, declared: Tree) -> None:
    """For any three: also, what was declared last and is unchanged is gone, and a second merge has nothing to do."""
    live, last, declared = normal(live), normal(last), normal(declared)
    found = result(live, merge(live, [last], declared))
    now, applied = dict(leaves(found)), dict(leaves(last))
    for path, value in leaves(declared):
        there: Any = found
        for name in path:
            there = there[name]
        assert same(there, value) or (value == {} and isinstance(there, dict))
    for path, value in leaves(live):
        if _given_way(path, declared) or (path[0] == "mcp_servers" and len(path) < 3):
            continue
        if path in applied and same(applied[path], value):
            assert path not in now
        elif not any(
            path[: len(above)] == above and same(_at(live, above), _at(last, above)) for above in _prefixes(path, last)
        ):
            assert path in now
            assert same(now[path], value)
    assert merge(found, [declared], declared) == []


def _prefixes(path: tuple[str, ...], tree: Tree) -> list[tuple[str, ...]]:
    """Of a path, those that the tree has."""
    found = []
    for name in path:
        if not isinstance(tree, dict) or name not in tree:
            break
        found.append((*(found[-1] if found else ()), name))
        tree = tree[name]
    return found


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree[name]
    return tree


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TREES, TREES, TREES)
def test_a_file_reads_as_the_merge_says(start: Tree, last: Tree, declared: Tree) -> None:
    """Written by a round trip or anew, and the second time it is not written at all."""
    live = merged(None, [], start, "config.yaml").data
    found = Found(live, 0o600) if live else None
    change = merged(found, [last], declared, "config.yaml")
    expected = result(start, merge(start, [last], declared))
    after = change.data if change.data is not None else live
    assert same(normal(tree_of(after or b"", "config.yaml")), expected)
    assert not change.keeps_old
    assert merged(Found(after or b"", 0o600), [declared], declared, "config.yaml").data is None


# -- the file ----------------------------------------------------------------------------------------------------------

COMMENTED = """\
# mine
model:
  default: a  # the model
  # below the model

# about agents
agent:
  max_turns: 5   # few
  # behind it

# tools
toolsets:
  - files   # first
  - todo
# the memory
memory:
  memory_enabled: true
# tail
"""


def written(last: Tree, declared: Tree, text: str = COMMENTED) -> str:
    data = merged(Found(text.encode(), 0o600), [last], declared, "config.yaml").data
    assert data is not None
    return data.decode()


def test_comments_stay_when_a_value_changes() -> None:
    """Nothing but the line of the key."""
    assert written({}, {"agent": {"max_turns": 9}}) == COMMENTED.replace("max_turns: 5", "max_turns: 9")


def test_comments_stay_when_a_list_is_replaced() -> None:
    """Those around it; the ones on its items go with the items."""
    text = written({}, {"toolsets": ["web"]})
    assert text == COMMENTED.replace("  - files   # first\n  - todo\n", "  - web\n")


@pytest.mark.parametrize(
    ("key", "value"), [("agent", {"max_turns": 5}), ("toolsets", ["files", "todo"]), ("model", {"default": "a"})]
)
def test_comments_stay_when_a_section_goes(key: str, value: Any) -> None:
    """Those in front of what follows, and of what stood before."""
    text = written({key: value}, {"store": {"retain_days": 3}})
    assert f"{key}:" not in text
    for comment in ("# mine", "# about agents", "# tools", "# the memory", "# tail"):
        assert comment in text
    assert text.index("# the memory") < text.index("memory:\n")


def test_a_file_of_which_nothing_is_left_keeps_its_comments() -> None:
    """They may say what belongs there."""
    assert written({"a": 1}, {}, "# mine\na: 1\n# more\n") == "# mine\n# more\n"


def test_a_key_behind_an_anchor_is_written_out_and_the_old_file_kept() -> None:
    """Changing the anchor's value would change what else refers to it."""
    text = "a: &x {k: 1}\nb: *x\n"
    change = merged(Found(text.encode(), 0o600), [], {"b": {"k": 2}}, "config.yaml")
    assert change.keeps_old
    assert tree_of(change.data or b"", "") == {"a": {"k": 1}, "b": {"k": 2}}


def test_a_number_that_a_round_trip_would_change_stays_what_it_is() -> None:
    """The file is written anew then, and the old one kept."""
    change = merged(Found(b"a: 4.651017540586441e+16\n", 0o600), [], {"b": 1}, "config.yaml")
    assert change.keeps_old
    assert tree_of(change.data or b"", "") == {"a": 4.651017540586441e16, "b": 1}


@pytest.mark.parametrize("text", ["- a\n", "word\n", "a: [\n", "a: 1\na: 2\n", "\xff"])
def test_what_is_no_mapping_is_refused_by_file_and_line(text: str) -> None:
    """It is left as it is."""
    with pytest.raises(ConfigError) as caught:
        merged(Found(text.encode("latin-1"), 0o600), [], {"a": 1}, "home/config.yaml")
    assert caught.value.where.startswith("home/config.yaml:")
    assert caught.value.next_step

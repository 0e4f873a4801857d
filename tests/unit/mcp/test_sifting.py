"""Lists of which some entries are not as the protocol says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("mcp")

from hermesd.mcp.faults import FAULTS, MAX_FAULTS, Faults
from hermesd.mcp.sifting import LISTS, MAX_COMPLAINTS, sifted

OLD, NEW = "2025-11-25", "2026-07-28"
OF_NEW = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
GOOD = {"name": "good", "inputSchema": {"type": "object"}}
RIGHT: dict[str, dict[str, Any]] = {
    "tools/list": GOOD,
    "resources/list": {"name": "r", "uri": "file:///r"},
    "resources/templates/list": {"name": "t", "uriTemplate": "file:///{x}"},
    "prompts/list": {"name": "p"},
}


def told(answer: dict[str, Any]) -> list[str]:
    faults = Faults()
    faults.take(answer)
    return faults.told()


@pytest.mark.parametrize("version", ["2024-11-05", OLD, NEW])
@pytest.mark.parametrize("method", LISTS)
def test_a_wrong_entry_is_left_out_of_every_kind_of_list(method: str, version: str) -> None:
    """The others stay as they are, and it is said which one it was and why."""
    right, key = RIGHT[method], LISTS[method].key
    more = OF_NEW if version == NEW else {}
    found = sifted(method, version, {key: [right, {**right, "name": 7}, "x", right], "nextCursor": "c", **more})
    assert found[key] == [right, right]
    assert found["nextCursor"] == "c"
    first, second = told(found)
    assert " is left out: name: Input should be a valid string" in first
    assert " no. 3 is left out" in second


def test_the_reason_names_the_place_in_the_definition() -> None:
    """A person who writes the server finds it by that."""
    bad = {"name": "bad", "inputSchema": {"type": "array"}}
    assert told(sifted("tools/list", OLD, {"tools": [bad, GOOD]})) == [
        "the tool 'bad' is left out: inputSchema.type: Input should be 'object'"
    ]


def test_a_right_answer_is_given_on_as_it_is() -> None:
    """Also one whose fault is elsewhere, which is the SDK's to tell."""
    for answer in ({"tools": [GOOD]}, {"tools": "none"}, {}, {"tools": [GOOD], "nextCursor": 7}):
        assert sifted("tools/list", OLD, answer) is answer


def test_a_tool_that_asks_for_a_header_in_a_wrong_way_is_named() -> None:
    """The SDK drops it without a word, from 2026-07-28 on."""
    schema = {"type": "object", "properties": {"q": {"type": "string", "x-mcp-header": "not a token"}}}
    tools = [GOOD, {"name": "odd", "inputSchema": schema}]
    found = sifted("tools/list", NEW, {"tools": tools, **OF_NEW})
    assert found["tools"] == [GOOD]
    assert "'odd' is left out: property 'q'" in told(found)[0]
    assert sifted("tools/list", OLD, {"tools": tools})["tools"] == tools


def test_only_we_say_what_was_left_out() -> None:
    """A server's own word for it is taken away."""
    theirs = {FAULTS: {"texts": ["all is well"], "count": 1}, "a": 1}
    assert sifted("tools/list", OLD, {"tools": [GOOD], "_meta": dict(theirs)})["_meta"] == {"a": 1}
    found = sifted("tools/list", OLD, {"tools": [{}], "_meta": dict(theirs)})
    assert found["_meta"]["a"] == 1
    assert "all is well" not in told(found)


def test_what_is_told_is_bounded_and_clean() -> None:
    """A name may be long, and hold controls; a list may have a thousand wrong entries."""
    bad = {"name": "\x1b[31m" + "x\n" * 10_000, "inputSchema": 7}
    lines = told(sifted("tools/list", OLD, {"tools": [bad] * 1000}))
    assert len(lines) == MAX_FAULTS + 1
    assert lines[-1] == f"{1000 - MAX_FAULTS} more are left out"
    assert all(len(line) < 400 and line.isprintable() for line in lines)


def test_a_list_that_is_wrong_in_very_many_places_is_refused() -> None:
    """Looking through the SDK's complaints takes time on the loop."""
    with pytest.raises(ValueError, match="is wrong in"):
        sifted("tools/list", OLD, {"tools": [{}] * (MAX_COMPLAINTS + 1)})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "type", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.just(GOOD) | JSON, max_size=6))
def test_whatever_stands_in_a_list_the_rest_can_be_read(entries: list[Any]) -> None:
    """Every right entry is kept, and the SDK takes what is left."""
    import mcp_types

    found = sifted("tools/list", OLD, {"tools": entries})
    assert found["tools"].count(GOOD) == entries.count(GOOD)
    assert len(found["tools"]) + (found.get("_meta", {}).get(FAULTS, {}).get("count", 0)) == len(entries)
    mcp_types.ListToolsResult.model_validate(found, by_name=False)

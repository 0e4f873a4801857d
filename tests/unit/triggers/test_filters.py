"""Filters of webhook routes: what each operator means, and what is refused when they are compiled."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermesd.errors import ConfigError
from hermesd.triggers.filters import MAX_CONDITIONS, MAX_DEPTH, Seen, compile_filters, read_files
from hermesd.triggers.patterns import MAX_SEEN, compile_pattern
from hermesd.web.message import Headers
from tests.cost import Work, least_seconds, seconds

PAYLOAD: dict[str, object] = {
    "action": "opened",
    "draft": False,
    "pull_request": {"number": 7, "title": "Fix the lock", "labels": ["bug", "auth"], "user": {"login": "ann"}},
    "commits": [{"id": "a1"}, {"id": "b2"}],
    "milestone": None,
}
HEADERS = Headers([("X-Source", "ci"), ("Content-Type", "application/json")])


def holds(*conditions: object, payload: dict[str, object] = PAYLOAD, home: Path | None = None) -> bool:
    filters = compile_filters(conditions, where="here", home=home)
    return not filters.refusal(Seen(payload, "pull_request", HEADERS, read_files(filters.files)))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({"field": "action", "equals": "opened"}, True),
        ({"field": "action", "equals": "closed"}, False),
        ({"field": "action", "not_equals": "closed"}, True),
        ({"field": "nothing", "not_equals": "closed"}, True),
        ({"field": "nothing", "equals": ""}, False),
        ({"field": "pull_request.number", "equals": 7}, True),
        ({"field": "pull_request.number", "equals": "7"}, True),
        ({"field": "pull_request.title", "equals": 7}, False),
        ({"field": "draft", "equals": False}, True),
        ({"field": "draft", "equals": "false"}, True),
        ({"field": "draft", "equals": 0}, False),
        ({"field": "pull_request.user.login", "in": ["ann", "bob"]}, True),
        ({"field": "pull_request.user.login", "in": ["bob"]}, False),
        ({"field": "pull_request.title", "contains": "lock"}, True),
        ({"field": "pull_request.labels", "contains": "auth"}, True),
        ({"field": "pull_request.labels", "contains": "aut"}, False),
        ({"field": "pull_request", "contains": "labels"}, True),
        ({"field": "commits.1.id", "equals": "b2"}, True),
        ({"field": "commits.2.id", "exists": True}, False),
        ({"field": "milestone", "exists": True}, True),
        ({"field": "milestone", "missing": True}, False),
        ({"field": "nothing", "missing": True}, True),
        ({"field": "nothing", "exists": False}, True),
        ({"field": "pull_request.title", "regex": "^[Ff]ix "}, True),
        ({"field": "pull_request.title", "regex": "(?i)LOCK$"}, True),
        ({"field": "pull_request", "regex": "."}, False),
        ({"field": "event", "equals": "pull_request"}, True),
        ({"field": "event_type", "equals": "push"}, False),
        ({"field": "headers.x-source", "equals": "ci"}, True),
        ({"field": "headers.X-Source", "equals": "ci"}, True),
        ({"field": "headers.X-Other", "exists": True}, False),
        ({"field": "payload.action", "equals": "opened"}, True),
        ({"not": {"field": "action", "equals": "opened"}}, False),
        ({"not": [{"field": "action", "equals": "x"}, {"field": "draft", "equals": True}]}, True),
        ({"any": [{"field": "action", "equals": "x"}, {"field": "action", "equals": "opened"}]}, True),
        ({"any": []}, False),
        ({"all": []}, True),
        ({"all": [{"field": "action", "equals": "opened"}, {"not": {"field": "draft", "equals": False}}]}, False),
    ],
)
def test_what_a_condition_means(condition: object, *, expected: bool) -> None:
    """Each operator and group, over a payload like GitHub's."""
    assert holds(condition) is expected


def test_a_payload_of_its_own_is_meant_by_its_name() -> None:
    """``payload.x`` reads from the body's ``payload`` where there is one."""
    assert holds({"field": "payload.x", "equals": 1}, payload={"payload": {"x": 1}, "x": 2})
    assert not holds({"field": "payload.x", "exists": True}, payload={"payload": {}, "x": 2})


def test_all_conditions_must_hold_and_the_first_that_does_not_is_named() -> None:
    """For the sender, and for people who wonder."""
    filters = compile_filters(
        [{"field": "action", "exists": True}, {"field": "action", "equals": "x"}, {"any": []}], where="here"
    )
    assert filters.refusal(Seen(PAYLOAD, "", HEADERS)) == "filters[1]"


@pytest.mark.parametrize("text", ['["7", "ann"]', '{"ann": 1}', "bob\n  ann \n"])
def test_a_file_lists_values_and_may_change(tmp_path: Path, text: str) -> None:
    """A JSON list, the keys of a JSON object, or lines; it is read for each request, and may even go."""
    (tmp_path / "data").mkdir()
    file = tmp_path / "data" / "people"
    file.write_text(text)
    for name in ("~/.hermes/data/people", "data/people", str(file)):
        assert holds({"field": "pull_request.user.login", "in_file": name}, home=tmp_path)
    filters = compile_filters([{"field": "pull_request.user.login", "in_file": str(file)}], where="here")
    for changed in (lambda: file.write_text("nobody"), lambda: file.write_bytes(b"ann " * 300_000), file.unlink):
        changed()
        assert filters.refusal(Seen(PAYLOAD, "", HEADERS, read_files(filters.files))) == "filters[0]"


def nested(depth: int) -> object:
    return {"field": "a", "exists": True} if depth == 1 else {"not": nested(depth - 1)}


@pytest.mark.parametrize(
    ("conditions", "place"),
    [
        (["text"], "filters[0] is no condition"),
        ([{"field": "a"}], "filters[0] is no condition"),
        ([{"field": "a", "eqals": 1}], "filters[0] has an unknown operator 'eqals'"),
        ([{"field": "a", "equals": 1, "in": [1]}], "filters[0] is no condition"),
        ([{"equals": 1}], "filters[0] is no condition"),
        ([{"field": "a b", "equals": 1}], "filters[0].field is no field"),
        ([{"field": "", "equals": 1}], "filters[0].field is no field"),
        ([{"field": "a", "equals": [1]}], "filters[0].equals is no value"),
        ([{"field": "a", "equals": "x" * 1001}], "filters[0].equals is no value"),
        ([{"field": "a", "exists": "yes"}], "filters[0].exists is neither true nor false"),
        ([{"field": "a", "in": "b"}], "filters[0].in is no list"),
        ([{"field": "a", "in": []}], "filters[0].in is no list"),
        ([{"field": "a", "in": ["b", {}]}], "filters[0].in[1] is no value"),
        ([{"field": "a", "in_file": "/nothing/there"}], "filters[0].in_file names '/nothing/there'"),
        ([{"field": "a", "in_file": "/dev/zero"}], "filters[0].in_file names '/dev/zero'"),
        ([{"any": [{"field": "a", "exists": True}, {"field": "a", "regex": "("}]}], "filters[0].any[1].regex is no"),
        ([{"field": "a", "regex": "(a+)+$"}], "filters[0].regex repeats what may itself vary"),
        ([{"any": {"field": "a", "exists": True}}], "filters[0].any is no list"),
        ([nested(MAX_DEPTH + 1)], "is too much"),
        ([{"field": "a", "exists": True}] * (MAX_CONDITIONS + 1), f"filters[{MAX_CONDITIONS}] is too much"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(conditions: list[object], place: str) -> None:
    """When the route is loaded, not when an event comes."""
    with pytest.raises(ConfigError) as caught:
        compile_filters(conditions, where="platforms.webhook.routes.x")
    assert place in caught.value.what
    assert caught.value.where == "platforms.webhook.routes.x"
    assert caught.value.next_step


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=10,
)


@given(payload=st.dictionaries(st.sampled_from(["a", "b", "payload"]), ANYTHING, max_size=3), wanted=ANYTHING)
def test_no_payload_makes_a_filter_fail(payload: dict[str, object], wanted: object) -> None:
    """Whatever is compiled gives an answer for whatever comes."""
    conditions: list[object] = [
        {"field": path, operator: wanted}
        for path in ("a", "a.b", "payload.a", "a.0")
        for operator in ("equals", "contains", "in", "regex", "exists")
    ]
    for condition in conditions:
        try:
            filters = compile_filters([condition], where="here")
        except ConfigError:
            continue
        assert filters.refusal(Seen(json.loads(json.dumps(payload)), "", HEADERS)) in ("", "filters[0]")


# -- patterns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found", "passed_over"),
    [
        (r"^(feat|fix)(\([^)]*\))?!?: ", "feat(rpc)!: x", "a feat: x"),
        (r"refs/heads/(main|release/.*)", "refs/heads/release/1", "refs/tags/main"),
        (r"[a-z0-9.]+@example\.org", "by a.b@example.org", "@example.org"),
        (r"(?i)security|cve-\d{4}-\d+", "CVE-2026-1", "cve-1"),
        (r"^v\d+\.\d+\.\d+$", "v1.20.3", "v1.20.3-rc1"),
        (r"^[]a]+\]*x?y??$", "]a]]xy", "xy"),
        (r"a{2}b{,3}c{", "aabbc{", "abbc{"),
    ],
)
def test_ordinary_patterns_are_taken(text: str, found: str, passed_over: str) -> None:
    """What people write in filters, with the meaning that it has in Python."""
    pattern = compile_pattern(text)
    assert pattern.search(found)
    assert not pattern.search(passed_over)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a" * 201,
        "(a+)+b",
        "(a|a)*b",
        "(?:a|aa){9}b",
        r"(a)\1",
        "(?=a)b",
        "(?P<n>a)",
        "a?" * 30 + "a" * 30,
        "(a|aa)" * 20 + "b",
        ".*.*.*=",
        "(",
        "*",
    ],
)
def test_patterns_that_could_stall_the_daemon_are_refused(text: str) -> None:
    """Those known from practice for it, and what is no pattern at all."""
    with pytest.raises(ValueError, match=r"is no|may take too long|begins with"):
        compile_pattern(text)


PIECES = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "(a|b)",
        "(?:a|aa)",
        "a*",
        ".*",
        "a+",
        "a?",
        "(a|aa)?",
        "a{1,9}",
        "a{2,}",
        "[ab]*",
        "(a*)?",
        "|",
        "^",
    ]
)


def searching(pattern: re.Pattern[str]) -> Work:
    return lambda: [pattern.search(text) for text in ("a" * MAX_SEEN, "ab" * (MAX_SEEN // 2))]


@functools.cache
def seconds_of_the_costliest() -> float:
    """Of CPU, for a pattern that is just taken: every character of the text begins two repeats of whatever is left."""
    return least_seconds(searching(compile_pattern("[ab]*[ab]*[b!]c")))


@settings(deadline=None, max_examples=60)
@given(st.lists(PIECES, min_size=1, max_size=12))
def test_a_pattern_that_is_taken_ends_soon_whatever_it_meets(pieces: list[str]) -> None:
    """On texts made to make it try everything, beside one with about as many ways as are allowed."""
    try:
        pattern = compile_pattern("".join(pieces) + "[b!]c")
    except ValueError:
        return
    assert seconds(searching(pattern)) < 30 * seconds_of_the_costliest(), "what is refused takes hours"

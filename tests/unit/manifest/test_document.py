"""Manifests as text: read strictly, with a line for whatever is wrong."""

from __future__ import annotations

import contextlib

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import ConfigError
from hermesd.manifest.document import MAX_FILES, Source, read
from hermesd.manifest.entry import Key
from hermesd.manifest.kinds import KINDS

SHAPES = {kind.section: kind.shape for kind in KINDS}
WORDS = st.sampled_from(
    [*SHAPES, "a", "b", "schedule", "prompt", "tools", "include", "env", "profile", "secret_env"]
) | (st.sampled_from(["version", "name", "description", "1", "a.b", "x/y", "true", "null"]))
TREES = st.recursive(
    WORDS | st.integers(0, 2) | st.booleans() | st.none() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(WORDS, below, max_size=4),
    max_leaves=12,
)


def test_entries_are_flat_with_the_lines_of_their_fields() -> None:
    """Sections and maps within an entry become dotted names; a list may be words with commas."""
    text = "version: 1\nmcp_servers:\n  a:\n    env: {K: v}\n    tools:\n      include: x, y\n    timeout: 5\n"
    found = read([Source("f", text)], SHAPES)
    [entry] = found.entries.values()
    assert entry.fields == {"env.K": "v", "tools.include": ["x", "y"], "timeout": 5.0}
    assert (entry.where, entry.lines["tools.include"]) == ("f:3", "f:6")


def test_every_field_of_every_kind_has_a_shape_that_something_fits() -> None:
    """Also those that are one of a few words, or nothing."""
    text = "version: 1\njobs: {a: {misfire: skip, overlap: queue, repeat: 2, timeout_s: 1.5, no_agent: true}}\n"
    [entry] = read([Source("f", text)], SHAPES).entries.values()
    assert entry.fields == {"misfire": "skip", "overlap": "queue", "repeat": 2, "timeout_s": 1.5, "no_agent": True}
    for shape in SHAPES.values():
        assert all(below.kind != "scalar" or below.expected for below in shape.fields.values())


def test_whose_an_entry_is() -> None:
    """Its own word, what it stands below, the file's, the caller's, the default one."""
    text = "version: 1\njobs: {a: {}, b: {profile: p}}\nprofiles: {q: {jobs: {c: {}, d: {profile: r}}}}\n"
    keys = {Key("jobs", "default", "a"), Key("jobs", "p", "b"), Key("jobs", "q", "c"), Key("jobs", "r", "d")}
    assert set(read([Source("f", text)], SHAPES).entries) == keys | {Key("profiles", "q", "q")}
    assert Key("jobs", "w", "a") in read([Source("f", text)], SHAPES, profile="w").entries
    assert Key("jobs", "x", "a") in read([Source("f", f"profile: x\n{text}")], SHAPES, profile="w").entries


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["version: 2\n"], "f0:1: this is no manifest of version 1"),
        (["version: 1\nname: a\n", "version: 1\nname: b\n"], "f1:2: this file is of 'b', the one before of 'a'"),
        (
            ["version: 1\njobs: {a: {}}\n", "version: 1\njobs: {a: {}}\n"],
            "f1:2: jobs.a is declared twice (first at f0:2)",
        ),
        (["version: 1\nprofiles: {p: {profiles: {}}}\n"], "f0:2: unknown key 'profiles' in profiles.p"),
        (["version: 1\njobs: {a: {toolsets: {x: y}}}\n"], "f0:2: toolsets must be a list"),
        (["version: 1\nmcp_servers: {a: {env: {a.b: x}}}\n"], "f0:2: 'a.b' cannot be a name here"),
        (["version: 1\njobs: {a/b: {}}\n"], "f0:2: 'a/b' is no name"),
        (["version: 1\nname: 'a b'\n"], "f0:2: name is not a name"),
        (["version: 1\n"] * (MAX_FILES + 1), "101 files are given"),
        ([], "0 files are given"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(texts: list[str], said: str) -> None:
    """And with the one next step."""
    with pytest.raises(ConfigError) as refused:
        read([Source(f"f{number}", text) for number, text in enumerate(texts)], SHAPES)
    assert str(refused.value).startswith(said)
    assert refused.value.next_step


@given(TREES)
def test_any_structure_is_read_or_refused(tree: object) -> None:
    """Nothing else than ConfigError comes out, and what is read has only fields that the shapes know."""
    document = {"version": 1, **tree} if isinstance(tree, dict) else tree
    try:
        found = read([Source("f", yaml.safe_dump(document, allow_unicode=True))], SHAPES)
    except ConfigError:
        pass
    else:
        assert all(
            name.partition(".")[0] in SHAPES[key.section].fields
            for key, entry in found.entries.items()
            for name in entry.fields
        )


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Also text that is no YAML."""
    with contextlib.suppress(ConfigError):
        assert read([Source("f", f"version: 1\n{text}")], SHAPES).name

"""Patterns of files: what they match, and which directories lead there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.errors import UsageError
from hermesd.triggers.watch_pattern import Pattern, parse_pattern

NAMES = st.sampled_from(["a", "b.md", ".git", "sub", "ab"])
PARTS = st.sampled_from(["a", "*", "**", "*.md", "?", "[ab]", ".*", "sub", ".git"])


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/n/*.md", "/n/a.md", True),
        ("/n/*.md", "/n/a.txt", False),
        ("/n/*.md", "/n/sub/a.md", False),
        ("/n/**/*.md", "/n/a.md", True),
        ("/n/**/*.md", "/n/x/y/a.md", True),
        ("/n/**/*.md", "/n/.git/a.md", False),
        ("/n/**/.git/*", "/n/x/.git/config", True),
        ("/n/**", "/n/x/.a.swp", False),
        ("/n/.*", "/n/.env", True),
        ("/n", "/n/x/y", True),
        ("/n", "/n", True),
        ("/n", "/nn/x", False),
        ("/n/a?c/[0-9]*", "/n/abc/7x", True),
        ("/n/[!a]", "/n/a", False),
    ],
)
def test_a_pattern_matches_as_in_a_shell(pattern: str, path: str, expected: bool) -> None:
    """With ``**``, and without a wildcard standing for a dot in front."""
    assert parse_pattern(pattern).matches(path) is expected


@given(st.lists(PARTS, min_size=1, max_size=4), st.lists(NAMES, min_size=1, max_size=5))
def test_every_directory_above_a_match_is_descended_into(parts: list[str], names: list[str]) -> None:
    """Otherwise a look would miss files that its patterns mean."""
    pattern = Pattern("/base", tuple(parts))
    path = "/base/" + "/".join(names)
    if pattern.matches(path):
        assert all(pattern.descends("/base/" + "/".join(names[:length])) for length in range(1, len(names)))
        assert pattern.descends("/base")


@given(st.text(max_size=30))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(UsageError):
        assert parse_pattern("/" + text).base.startswith("/")


@pytest.mark.parametrize("text", ["", "notes/*.md", "/a/../b", "/a\0b", "/x/**/a/**/b/**/c/**", "/" + "x" * 2000])
def test_what_is_no_absolute_pattern_is_refused(text: str) -> None:
    """Relative ones would mean something else for the daemon."""
    with pytest.raises(UsageError):
        parse_pattern(text)


def test_links_on_the_way_to_the_pattern_are_resolved_once(tmp_path: Path) -> None:
    """So that what is watched is a real directory."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert parse_pattern(f"{tmp_path}/link/*.md").base == os.path.realpath(tmp_path / "real")

"""Splitting: nothing lost, nothing too long, fences whole."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from hermesd.gateway.text import MIN_LIMIT, clean, pieces, split, to_html, units

WORDS = st.sampled_from(
    [
        "word ",
        "Sentence. ",
        "\n",
        "\n\n",
        "```\n",
        "```python\n",
        "~~~\n",
        "x" * 40,
        "🦜",
        "é",
        "👨‍👩‍👧",
        "``",
        " ",
        "\t",
        "`",
    ]
)
TEXTS = st.one_of(st.text(), st.lists(WORDS, max_size=120).map("".join))
LIMITS = st.integers(MIN_LIMIT, 300)


@given(TEXTS, LIMITS)
def test_nothing_is_lost(text: str, limit: int) -> None:
    """The bodies of the pieces, joined, are the text itself."""
    assert "".join(piece.body for piece in pieces(text, limit)) == text


@given(TEXTS, LIMITS)
def test_no_part_is_longer_than_the_limit_in_utf16(text: str, limit: int) -> None:
    """Every part fits, counted as Telegram counts, with its added fences."""
    assert all(units(part) <= limit for part in split(text, limit))


@given(TEXTS, LIMITS)
def test_splitting_a_part_again_changes_nothing(text: str, limit: int) -> None:
    """Splitting is idempotent."""
    for part in split(text, limit):
        assert split(part, limit) == [part]


@given(TEXTS, TEXTS, LIMITS)
def test_finished_parts_of_a_growing_draft_do_not_change(text: str, more: str, limit: int) -> None:
    """All parts but the last are the same whatever is appended."""
    before = [piece.text for piece in pieces(text, limit)]
    after = [piece.text for piece in pieces(text + more, limit)]
    assert after[: max(0, len(before) - 1)] == before[:-1]


@given(st.text())
def test_units_are_those_of_utf16(text: str) -> None:
    """The count agrees with the encoded form."""
    assert units(text) == len(text.encode("utf-16-le", "surrogatepass")) // 2


@given(st.text(alphabet=st.characters(codec=None, categories=None)))
def test_cleaned_text_can_be_encoded(text: str) -> None:
    """Lone surrogates and NUL never reach a platform."""
    assert b"\0" not in clean(text).encode()


def test_a_paragraph_is_preferred_to_a_line_and_a_sentence() -> None:
    """The cut falls at the last paragraph that is in the second half of what fits."""
    text = "a" * 60 + "\n\n" + "b" * 10 + "\n" + "c. " * 5 + "d" * 60
    assert split(text, 100)[0] == "a" * 60 + "\n\n"


def test_a_sentence_is_preferred_to_a_blank() -> None:
    """Without line breaks the cut falls behind a full stop."""
    text = "one two three " * 4 + "end. Next words go on and on and on without end " * 3
    assert split(text, 80)[0].endswith("end. ")


def test_an_open_fence_is_closed_and_opened_again() -> None:
    """Each part of a long code block is a code block of the same language."""
    code = "".join(f"line_{number} = {number}\n" for number in range(60))
    parts = split(f"Look:\n```python\n{code}```\nDone.", 200)
    assert len(parts) > 3
    assert all(len(re.findall(r"^```", part, re.MULTILINE)) == 2 for part in parts[:-1])
    assert all(part.startswith("```python\n") for part in parts[1:])


def test_a_family_of_emoji_is_not_torn() -> None:
    """A hard cut steps back from joiners."""
    family = "👨‍👩‍👧"
    parts = split(family * 40, 64)
    assert all(part.replace(family, "") == "" for part in parts)


def test_blank_text_has_no_parts() -> None:
    """Nothing is sent for nothing."""
    assert split(" \n\n ", 100) == []


def test_html_covers_only_what_cannot_be_misread() -> None:
    """Bold, code and fences become tags; everything else is escaped."""
    source = "**Hi** `a<b` 2 * 3 * 4 <b>\n```sh\nls & echo\n```\n_as is_"
    assert to_html(source) == (
        "<b>Hi</b> <code>a&lt;b</code> 2 * 3 * 4 &lt;b&gt;\n"
        '<pre><code class="language-sh">ls &amp; echo\n</code></pre>\n_as is_'
    )


@given(TEXTS)
def test_html_shows_no_more_than_the_text(text: str) -> None:
    """What a reader sees of the HTML is not longer than the source, so a part that fits still fits."""
    import html

    shown = html.unescape(re.sub(r"</?(?:b|code|pre)(?: class=\"[^\"]*\")?>", "", to_html(text)))
    assert units(shown) <= units(text)

"""Full-text search: routes, snippets, and any input."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hermesd.store.records import SearchHit
from hermesd.store.sqlite import SqliteStore, search
from hermesd.store.sqlite.query import fold, parse
from tests.unit.store.samples import say


async def _found(store: SqliteStore, query: str, **fields: str) -> list[str]:
    hits = await store.search(query, **fields)
    return [hit.snippet.replace("\x02", "[").replace("\x03", "]") for hit in hits]


async def test_words_are_found_whatever_their_case_and_accents(store: SqliteStore) -> None:
    """Every term must be there; a snippet marks the hits."""
    await say(store, "The Café opens at nine", "the bar opens at ten")
    assert await _found(store, "cafe OPENS") == ["The [Café] [opens] at nine"]
    assert len(await _found(store, "opens")) == 2
    assert await _found(store, "opens missing") == []


async def test_phrases_and_prefixes(store: SqliteStore) -> None:
    """Words in quotes stand together; a trailing star lets the word go on."""
    await say(store, "deploy the staging server", "the server for staging")
    assert await _found(store, '"staging server"') == ["deploy the [staging server]"]
    assert await _found(store, "deplo*") == ["[deploy] the staging server"]
    assert await _found(store, '"staging serv"*') == ["deploy the [staging server]"]
    assert await _found(store, "stag") == []


async def test_a_short_prefix_is_matched_against_the_newest_messages(store: SqliteStore) -> None:
    """The index is not asked; the result reads the same."""
    await say(store, "Ein Äpfelchen", "apple pie", "pineapple")
    assert await _found(store, "ap*") == ["[ap]ple pie", "Ein [Äp]felchen"]
    assert await _found(store, '"an ap"*') == []
    assert await _found(store, "pie ap*") == ["[ap]ple [pie]"]


async def test_text_without_spaces_between_words_is_found_by_its_parts(store: SqliteStore) -> None:
    """Chinese, Japanese and Thai are matched as substrings."""
    await say(store, "今日は天気がいい", "hello")
    assert await _found(store, "天気") == ["今日は[天気]がいい"]


async def test_only_the_newest_matches_of_a_common_word_are_ranked(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among them, a message that is mostly the word comes first."""
    monkeypatch.setattr(search, "COMMON_MATCHES", 10)
    monkeypatch.setattr(search, "NEWEST_MATCHES", 15)
    await say(store, "common", *(f"common {'word ' * 60}{number}" for number in range(20)), "common common")
    await say(store, *(f"common {'other ' * 60}{number}" for number in range(5)))
    hits = await store.search("common", limit=15)
    assert len(hits) == 15
    assert hits[0].snippet == "\x02common\x03 \x02common\x03"


async def test_a_profile_sees_its_own_messages(store: SqliteStore) -> None:
    """On the index's route and on the scanning one."""
    await say(store, "secret apple", profile="one", key="a")
    await say(store, "secret apple", profile="two", key="b")
    for query in ("secret", "ap*"):
        assert len(await store.search(query)) == 2
        (hit,) = await store.search(query, profile="two")
        assert (await store.session(hit.session_id)).profile == "two"
        assert await store.search(query, profile="three") == []


async def test_a_removed_message_is_not_found(store: SqliteStore) -> None:
    """The index follows the table."""
    await say(store, "ephemeral", profile="gone")
    await store.delete_profile("gone")
    assert await store.search("ephemeral") == []
    await store._writer.submit(lambda tx: tx.run("INSERT INTO messages_fts (messages_fts) VALUES ('integrity-check')"))


ODD = [
    '"',
    "*",
    '"*',
    "NOT",
    "a AND",
    "NEAR(",
    "a:b",
    "col:{",
    "^a",
    "-a",
    "a\0b",
    "\ud800",
    "'",
    "()",
    "a" * 5000,
    "%_",
]


@pytest.mark.parametrize("query", ODD)
async def test_odd_input_never_raises(store: SqliteStore, query: str) -> None:
    """Query syntax of the engine below is just text."""
    await say(store, "a b")
    assert isinstance(await store.search(query), list)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    queries=st.lists(st.text(alphabet=st.characters() | st.sampled_from('"*:()^-+{}ab \0天')), min_size=8, max_size=8)
)
def test_any_text_can_be_searched_for(tmp_path_factory: pytest.TempPathFactory, queries: list[str]) -> None:
    """Whatever was said can be asked for again without an error, and words that were said are found."""

    async def ask(path: Path) -> list[list[SearchHit]]:
        store = SqliteStore.open(path)
        await say(store, *queries, "needle in hay")
        found = [await store.search(query) for query in queries]
        assert await store.search("needle")
        store.close()
        return found

    assert len(trio.run(ask, tmp_path_factory.mktemp("search") / "state.db")) == len(queries)


@given(st.text())
def test_folding_keeps_every_offset(text: str) -> None:
    """A match in the folded text marks the same characters in the original."""
    folded = fold(text)
    assert len(folded) == len(text)
    assert all(not char.isupper() or not char.isascii() for char in folded)


@given(st.text())
def test_terms_are_bounded_and_hold_something_to_find(query: str) -> None:
    """No empty term reaches the engine, and a pattern always compiles."""
    import re

    terms = parse(query * 3)
    assert len(terms) <= 16
    for term in terms:
        assert any(char.isalnum() for char in term.text)
        re.compile(term.pattern())

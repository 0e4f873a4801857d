"""Full-text search over messages, by one of three routes.

    terms ──► a short prefix, or a script without spaces? ──yes──► scan: the newest messages, matched one by one
               │no
               ├─ few enough matches ──► ranked: bm25 over all of them
               └─ very common ────────► newest: only the newest matches are ranked, by how much of each is hits

bm25 over a word that stands in every message of a million takes 130 ms, a three-letter prefix over a second; the
other two routes are bounded by the number of rows they look at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hermesd.store.records import SearchHit
from hermesd.store.sqlite.query import fold, parse

if TYPE_CHECKING:
    from hermesd.store.sqlite.query import Term
    from hermesd.store.sqlite.transaction import Row, View

COMMON_MATCHES = 2000
NEWEST_MATCHES = 200
SCANNED_MESSAGES = 2000
SNIPPET_TOKENS = 24
_SNIPPET_BEFORE, _SNIPPET_AFTER = 60, 120

_HIT_COLUMNS = "m.session_id, m.id, m.role, m.created_at, s.title"
_JOINED = "CROSS JOIN messages m ON m.id = f.rowid CROSS JOIN sessions s ON s.id = m.session_id"
_OF_PROFILE = "(?2 IS NULL OR s.profile = ?2)"
_SNIPPET = f"snippet(messages_fts, 0, char(2), char(3), '…', {SNIPPET_TOKENS})"


def search(view: View, query: str, profile: str | None, limit: int) -> list[SearchHit]:
    """Messages that hold every term, best first; odd input finds nothing rather than raise."""
    terms = parse(query)
    if not terms or limit <= 0:
        return []
    if any(term.needs_scan for term in terms):
        return _scan(view, terms, profile, limit)
    match = " AND ".join(term.fts5() for term in terms)
    matches = view.value(
        "SELECT count(*) FROM (SELECT 1 FROM messages_fts WHERE messages_fts MATCH ? LIMIT ?)",
        match,
        COMMON_MATCHES + 1,
    )
    find = _ranked if matches <= COMMON_MATCHES else _newest
    return find(view, match, profile, limit)


def _ranked(view: View, match: str, profile: str | None, limit: int) -> list[SearchHit]:
    rows = view.all(
        f"SELECT {_HIT_COLUMNS}, {_SNIPPET} FROM messages_fts f {_JOINED} "  # noqa: S608 - constant
        f"WHERE messages_fts MATCH ?1 AND {_OF_PROFILE} ORDER BY f.rank LIMIT ?3",
        match,
        profile,
        limit,
    )
    return [_hit(row) for row in rows]


def _newest(view: View, match: str, profile: str | None, limit: int) -> list[SearchHit]:
    rows = view.all(
        f"SELECT {_HIT_COLUMNS}, {_SNIPPET}, highlight(messages_fts, 0, char(2), '') "  # noqa: S608 - constant
        f"FROM messages_fts f {_JOINED} WHERE messages_fts MATCH ?1 AND {_OF_PROFILE} "
        "ORDER BY f.rowid DESC LIMIT ?3",
        match,
        profile,
        max(NEWEST_MATCHES, limit),
    )
    ranked = sorted(rows, key=lambda row: _density(row[6]), reverse=True)  # stable: newest first among equals
    return [_hit(row) for row in ranked[:limit]]


def _density(marked: str | None) -> float:
    """bm25's term frequency part, saturating and normalised by length; idf is the same for every row here."""
    text = marked or ""
    hits = text.count("\x02")
    return round(hits / (hits + 0.3 + 0.9 * len(text) / 400), 2)


def _scan(view: View, terms: list[Term], profile: str | None, limit: int) -> list[SearchHit]:
    patterns = [re.compile(term.pattern()) for term in terms]
    rows = view.all(
        f"SELECT {_HIT_COLUMNS}, m.text FROM messages m CROSS JOIN sessions s ON s.id = m.session_id "  # noqa: S608 - constants
        f"WHERE m.id > (SELECT max(id) FROM messages) - ?1 AND {_OF_PROFILE} ORDER BY m.id DESC",
        SCANNED_MESSAGES,
        profile,
    )
    hits: list[SearchHit] = []
    for row in rows:
        text: str = row[5]
        folded = fold(text)
        if all(pattern.search(folded) for pattern in patterns):
            hits.append(_hit((*row[:5], _cut_out(text, folded, patterns))))
            if len(hits) == limit:
                break
    return hits


def _cut_out(text: str, folded: str, patterns: list[re.Pattern[str]]) -> str:
    """The surroundings of the first hit, with every hit in them marked."""
    first = min(found.start() for pattern in patterns if (found := pattern.search(folded)))
    start, end = max(0, first - _SNIPPET_BEFORE), min(len(text), first + _SNIPPET_AFTER)
    spans = sorted(
        found.span() for pattern in patterns for found in pattern.finditer(folded, start, end) if found.group()
    )
    pieces, at = [], start
    for begin, stop in spans:
        if begin >= at:
            pieces += [text[at:begin], "\x02", text[begin:stop], "\x03"]
            at = stop
    pieces.append(text[at:end])
    return ("…" if start else "") + "".join(pieces) + ("…" if end < len(text) else "")


def _hit(row: Row) -> SearchHit:
    return SearchHit(
        session_id=row[0],
        message_id=row[1],
        role=row[2],
        created_at=row[3],
        title=row[4],
        snippet=row[5] or "",
    )

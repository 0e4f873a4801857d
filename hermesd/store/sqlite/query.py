"""What people type into a search: plain words, "phrases", a trailing ``*``.

Nothing of FTS5's own query language gets through: every term is quoted, so no input is a syntax error.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

MAX_QUERY_CHARS = 2048
MAX_TERMS = 16
SHORT_PREFIX_CHARS = 3

_PIECE = re.compile(r'"([^"]*)"(\*?)|([^\s"]+)')
# Scripts written without spaces: the tokenizer makes one token of a whole run (Thai, kana, Han).
_UNSPACED = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


class _Fold(dict[int, str]):
    """For ``str.translate``: every character to one character without case and diacritics, so offsets stay."""

    def __missing__(self, code: int) -> str:
        base = unicodedata.normalize("NFKD", chr(code))[:1].lower()[:1]
        self[code] = folded = base or chr(code)
        return folded


_fold_table = _Fold()


def fold(text: str) -> str:
    """Lower case without diacritics; as long as the text."""
    return text.lower() if text.isascii() else text.translate(_fold_table)


@dataclass(frozen=True, slots=True)
class Term:
    """A word or phrase; ``prefix``: its last word may go on."""

    text: str
    prefix: bool = False

    @property
    def needs_scan(self) -> bool:
        """Whether the index serves it badly: a prefix of very many words, or a script without spaces."""
        if _UNSPACED.search(self.text):
            return True
        return self.prefix and len(_words(self.text)[-1]) <= SHORT_PREFIX_CHARS

    def fts5(self) -> str:
        """As an FTS5 string; its quotes are doubled (https://sqlite.org/fts5.html#fts5_strings)."""
        quoted = self.text.replace('"', '""')
        return f'"{quoted}"*' if self.prefix else f'"{quoted}"'

    def pattern(self) -> str:
        """As a regular expression over folded text."""
        if _UNSPACED.search(self.text):
            return re.escape(fold(self.text))
        words = r"[\W_]+".join(re.escape(fold(word)) for word in _words(self.text))
        return rf"(?<![^\W_]){words}" + ("" if self.prefix else r"(?![^\W_])")


def _words(text: str) -> list[str]:
    return "".join(char if char.isalnum() else " " for char in text).split()


def parse(query: str) -> list[Term]:
    """The terms, all of which must be found; those without a letter or digit are left out."""
    terms = []
    for phrase, starred, word in _PIECE.findall(query[:MAX_QUERY_CHARS].replace("\0", " ")):
        text = phrase or word.rstrip("*")
        if _words(text):
            terms.append(Term(text, prefix=bool(starred) or word.endswith("*")))
    return terms[:MAX_TERMS]

"""Secrets are taken out of text before it is logged or shown: by their form, and by their known values.

Known forms are token prefixes that services publish (GitHub, OpenAI, Anthropic, Slack, AWS, Google, GitLab, Hugging
Face, Standard Webhooks), JSON Web Tokens, PEM private keys, credentials in URLs, and values that follow a telling name
(``token=``, ``Authorization: Bearer``). Known values are registered from each profile's .env. Redacting too much is
preferred to showing a secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "[redacted]"
MIN_VALUE_CHARS = 6  # shorter values (1, true, yes) would blank out ordinary words
WINDOW_CHARS = 256  # a secret shows itself within so many characters of where its match begins

_TOKENS = re.compile(
    r"(?P<secret>"
    r"(?<![A-Za-z0-9])(?:"
    r"gh[a-z]_[A-Za-z0-9]{8,8192}"
    r"|github_pat_\w{8,8192}"
    r"|glpat-[\w-]{8,8192}"
    r"|(?:sk|pk|rk)-[\w-]{8,8192}"
    r"|xox[a-z]-[\w-]{8,8192}"
    r"|xapp-[\w-]{8,8192}"
    r"|hf_\w{8,8192}"
    r"|whsec_[\w+/=-]{8,8192}"
    r"|AIza[\w-]{20,8192}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,8192}"
    r"|eyJ[\w-]{8,8192}(?:\.[\w-]{0,8192}){0,2}"
    r")"
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[^-]{0,16384}(?:-{0,5}(?:END[A-Z ]{0,50}-{0,5})?)?"
    r")"
    r"|bot\d{3,20}:(?P<bot>[\w-]{6,8192})"
    r"|://[^\s/:@]{0,64}:(?P<url>[^\s/@]{1,128})@",
    re.ASCII,
)
_TOKEN_HINTS = ("_", "-", "AIza", "AKIA", "ASIA", "eyJ", "bot", "://")

_PAIRS = re.compile(
    r"(?:(?:token|password|passwd|secret|api_?key|access_?key|private_?key|authorization|cookie)"
    r"(?:\\?[\"'])?[ \t]{0,3}[=:]|key(?:\\?[\"'])?[ \t]{0,3}=)"
    r"[ \t]{0,3}(?:(?:bearer|basic|token|bot)[ \t]{1,3})?"
    r"(?P<value>"
    r"\"(?:[^\"\\\n]|\\.?){0,8192}\"?"
    r"|'(?:[^'\\\n]|\\.?){0,8192}'?"
    r"|(?:\\[\"'])?[^\s\"'\\&;,)}\]]{1,8192}"
    r")"
    r"|\bbearer[ \t]{1,3}(?P<bearer>[\w.~+/=-]{6,8192})",
    re.ASCII | re.IGNORECASE,
)
_PAIR_HINTS = ("token", "pass", "secret", "key", "auth", "cookie", "bearer")

Span = tuple[int, int, int]
"""Where a secret begins, where it ends, where the match that shows it to be one begins (``token=`` and all)."""


class Redactor:
    """Replaces secrets by ``[redacted]``. Values are added for the life of the process; one is never forgotten."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self.longest = 0

    def add(self, values: Iterable[str]) -> None:
        """Register secret values; also found JSON-escaped and percent-encoded. Under 6 characters: ignored."""
        forms = set(self._values)
        for value in values:
            stripped = value.strip()
            if len(stripped) >= MIN_VALUE_CHARS:
                forms |= {stripped, *_escaped_forms(stripped)}
        self._values = frozenset(forms)
        self.longest = max(map(len, forms), default=0)

    def redact(self, text: str) -> str:
        """``text`` without the secrets in it."""
        spans = self.spans(text)
        return _replace(text, spans, 0, len(text)) if spans else text

    def spans(self, text: str, begin: int = 0) -> list[Span]:
        """Where secrets stand in ``text`` from ``begin`` on, by their place; they may overlap."""
        found: list[Span] = []
        for value in self._values:
            at = text.find(value, begin)
            while at >= 0:
                found.append((at, at + len(value), at))
                at = text.find(value, at + 1)
        if any(hint in text for hint in _TOKEN_HINTS):
            found += _matches(_TOKENS, text, begin)
        lowered = text.lower()
        if any(hint in lowered for hint in _PAIR_HINTS):
            found += _matches(_PAIRS, text, begin)
        found.sort()
        return found


class StreamRedactor:
    """Redacts a text that comes in chunks, however a secret is cut: what may yet become one is held back.

    The outputs of ``feed`` and ``flush`` together are what ``redact`` makes of the whole text.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""
        self._before = ""  # the last character let go: what a secret may not follow is judged by it

    def feed(self, chunk: str) -> str:
        """Take a chunk; return what is now certain, redacted (often nothing, or the end of earlier chunks)."""
        text = self._before + self._held + chunk
        begin = len(self._before)
        spans = self._redactor.spans(text, begin)
        cut = self._cut(text, spans)
        if cut <= begin:
            self._held = text[begin:]
            return ""
        self._held = text[cut:]
        self._before = text[cut - 1]
        return _replace(text, spans, begin, cut)

    def flush(self) -> str:
        """The end of the stream: what is held back, redacted."""
        text = self._before + self._held
        begin = len(self._before)
        self._held = self._before = ""
        return _replace(text, self._redactor.spans(text, begin), begin, len(text))

    def _cut(self, text: str, spans: list[Span]) -> int:
        """Up to where nothing that comes can change what is a secret: not inside a match, nor before one that grows."""
        cut = len(text) - max(WINDOW_CHARS, self._redactor.longest)
        moved = True
        while moved:
            moved = False
            for _, end, guard in spans:
                if guard < cut and (end > cut or end == len(text)):
                    cut = guard
                    moved = True
        return cut


REDACTOR = Redactor()
"""The process's own: logs and statuses of every profile pass it, whoever's secret it is."""


def redact(text: str) -> str:
    """``text`` without any secret this process knows of."""
    return REDACTOR.redact(text)


def _matches(pattern: re.Pattern[str], text: str, begin: int) -> list[Span]:
    return [
        (match.start(match.lastgroup), match.end(match.lastgroup), match.start())
        for match in pattern.finditer(text, begin)
        if match.lastgroup is not None
    ]


def _replace(text: str, spans: list[Span], begin: int, end: int) -> str:
    """``text[begin:end]`` with a mark in place of each run of overlapping secrets."""
    parts: list[str] = []
    at = begin
    for start, stop, _ in spans:
        if stop > end:
            break
        if start >= at:
            parts += (text[at:start], MARK)
        at = max(at, stop)
    parts.append(text[at:end])
    return "".join(parts)


def _escaped_forms(value: str) -> tuple[str, ...]:
    import json
    from urllib.parse import quote

    return (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], quote(value, safe=""), quote(value))

"""Splitting long text for platforms that count UTF-16 code units (Telegram 4096), and a conservative HTML form.

A text is cut at the last paragraph, else line, else sentence, else blank in the second half of what fits, else
wherever it must be. A Markdown code fence that is open at a cut is closed there and opened again in the next part.
What is cut depends only on what lies before the cut and ``limit`` units after it, so that the finished parts of a
growing draft never change.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_LIMIT = 64
_FENCE = re.compile(r"[ ]{0,3}(`{3,8}|~{3,8})(?!`|~)[ \t]*([\w+#.-]{0,16})[^\n]*")
_BREAKS = (
    re.compile(r"\n[ \t]*\n+"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?…。！？])[\"')\]]*\s+"),
    re.compile(r"\s+"),
)


class Piece(msgspec.Struct, frozen=True):
    """A part of a text: ``body`` is the text's own, ``opening`` and ``closing`` are fence lines added around it."""

    opening: str
    body: str
    closing: str

    @property
    def text(self) -> str:
        """What is sent."""
        return f"{self.opening}{self.body}{self.closing}"


def units(text: str) -> int:
    """The length of ``text`` in UTF-16 code units, as Telegram and Discord count."""
    return len(text) + sum(character > "\uffff" for character in text)


def clean(text: str) -> str:
    """``text`` without what no platform takes: NUL, and lone surrogates (replaced by U+FFFD)."""
    return text.replace("\0", "").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def split(text: str, limit: int) -> list[str]:
    """Parts of at most ``limit`` UTF-16 units; an empty or blank text has none, and no part is blank.

    Raises ValueError for a limit below ``MIN_LIMIT``.
    """
    return [piece.text for piece in pieces(text, limit) if piece.body.strip()]


def pieces(text: str, limit: int) -> Iterator[Piece]:
    """The cuts behind ``split``; their bodies, joined, are exactly ``text``."""
    if limit < MIN_LIMIT:
        raise ValueError(f"a limit of {limit} is below {MIN_LIMIT}")
    start, fence = 0, _NO_FENCE
    while start < len(text):
        opening = fence.opening
        room = limit - units(opening)
        end = _reach(text, start, room)
        if end < len(text):
            end = _best_cut(text, start, _reach(text, start, room - _CLOSING_ROOM))
        body = text[start:end]
        after = _scan(body, fence, at_line_start=start == 0 or text[start - 1] == "\n")
        is_last = end == len(text)
        yield Piece(opening, body, "" if is_last else after.closing(body))
        start, fence = end, after


# -- fences ------------------------------------------------------------------------------------------------------------


class _Fence(msgspec.Struct, frozen=True):
    """The open code fence, if any: its marker (``"```"``) and language (CommonMark 0.31, section 4.5)."""

    marker: str = ""
    language: str = ""

    @property
    def opening(self) -> str:
        return f"{self.marker}{self.language}\n" if self.marker else ""

    def closing(self, body: str) -> str:
        if not self.marker:
            return ""
        return self.marker if body.endswith("\n") else f"\n{self.marker}"


_NO_FENCE = _Fence()
_CLOSING_ROOM = 9  # a newline and the longest marker that is tracked


def _scan(body: str, fence: _Fence, *, at_line_start: bool) -> _Fence:
    lines = body.split("\n")
    for line in lines if at_line_start else lines[1:]:
        found = _FENCE.fullmatch(line)
        if found is None:
            continue
        marker, language = found.group(1), found.group(2)
        if not fence.marker:
            fence = _Fence(marker, language)
        elif line.strip() == marker and marker[0] == fence.marker[0] and len(marker) >= len(fence.marker):
            fence = _NO_FENCE
    return fence


# -- cuts --------------------------------------------------------------------------------------------------------------


def _reach(text: str, start: int, room: int) -> int:
    """The largest end for which ``text[start:end]`` has at most ``room`` units."""
    end = min(len(text), start + room)
    excess = units(text[start:end]) - room
    while excess > 0:
        step = (excess + 1) // 2  # dropping a character frees one or two units
        excess -= units(text[end - step : end])
        end -= step
    while end < len(text) and excess + units(text[end]) <= 0:
        excess += units(text[end])
        end += 1
    return end


def _best_cut(text: str, start: int, reach: int) -> int:
    earliest = start + (reach - start) // 2
    for pattern in _BREAKS:
        cuts = [found.end() for found in pattern.finditer(text, earliest, reach)]
        if cuts:
            return cuts[-1]
    return _between_characters(text, start, reach)


def _between_characters(text: str, start: int, reach: int) -> int:
    """Step back from a cut before a combining mark, variation selector or joiner, but not far."""
    for cut in range(reach, max(start + 1, reach - 16), -1):
        joins = unicodedata.category(text[cut]) in {"Mn", "Me", "Cf"} or text[cut - 1] == "\u200d"
        if not joins:
            return cut
    return reach


# -- HTML --------------------------------------------------------------------------------------------------------------

_CODE_BLOCK = re.compile(r"^(`{3,8}|~{3,8})([\w+#.-]{0,16})[^\n]*\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`|\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*")


def to_html(text: str) -> str:
    """Telegram's HTML (core.telegram.org/bots/api#html-style) of the Markdown that cannot be misread.

    Closed code fences, inline code and ``**bold**`` within a line; everything else is escaped and stays as written.
    The text that a reader sees is never longer than ``text``.
    """
    out, at = [], 0
    for block in _CODE_BLOCK.finditer(text):
        out.append(_inline_html(text[at : block.start()]))
        language, code = block.group(2), html.escape(block.group(3), quote=False)
        attribute = f' class="language-{html.escape(language)}"' if language else ""
        out.append(f"<pre><code{attribute}>{code}</code></pre>")
        at = block.end()
    out.append(_inline_html(text[at:]))
    return "".join(out)


def _inline_html(text: str) -> str:
    out, at = [], 0
    for found in _INLINE.finditer(text):
        out.append(html.escape(text[at : found.start()], quote=False))
        code, bold = found.groups()
        tag, body = ("code", code) if code is not None else ("b", bold)
        out.append(f"<{tag}>{html.escape(body, quote=False)}</{tag}>")
        at = found.end()
    out.append(html.escape(text[at:], quote=False))
    return "".join(out)

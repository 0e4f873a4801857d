"""What is printed on: width, colour, and the time that relative times refer to."""

from __future__ import annotations

import time
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

COLORS = {
    "red": "31",
    "green": "32",
    "yellow": "33",
    "blue": "34",
    "magenta": "35",
    "cyan": "36",
    "dim": "2",
    "bold": "1",
}

STATE_COLORS = {
    "ready": "green",
    "running": "green",
    "done": "green",
    "sent": "green",
    "ok": "green",
    "starting": "yellow",
    "connecting": "yellow",
    "pending": "yellow",
    "attempting": "yellow",
    "backoff": "yellow",
    "draining": "yellow",
    "degraded": "yellow",
    "parked": "yellow",
    "held": "yellow",
    "warning": "yellow",
    "failed": "red",
    "dead": "red",
    "startup_failed": "red",
    "problem": "red",
    "auth": "red",
    "stopped": "dim",
    "dropped": "dim",
    "disabled": "dim",
}


class Painted(NamedTuple):
    """Text with the colour it gets where there is colour."""

    text: str
    color: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Where text is going. ``width`` in columns, 0 for no limit; ``now`` in epoch seconds."""

    width: int = 80
    color: bool = False
    now: float = field(default_factory=time.time)

    def paint(self, text: str, color: str) -> str:
        """The text in a colour, if there is colour."""
        return f"\x1b[{COLORS[color]}m{text}\x1b[0m" if self.color and color and text else text

    def state(self, word: str, width: int = 0) -> str:
        """A state in its colour, padded to ``width`` columns."""
        return self.paint(word, STATE_COLORS.get(word, "")) + " " * (width - len(word))

    def fit(self, text: str, used: int = 0) -> str:
        """The text cut to what is left of a line of which ``used`` columns are taken."""
        return text if not self.width else truncate(text, max(self.width - used, 8))


def state(word: str) -> Painted:
    """A state with its colour, as a table's cell."""
    return Painted(word, STATE_COLORS.get(word, ""))


def display_width(text: str) -> int:
    """Columns a terminal needs for printable text (Unicode Standard Annex 11: wide and full-width take two)."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Cf", "Me", "Mn"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def truncate(text: str, width: int) -> str:
    """At most ``width`` columns of the text, with an ellipsis where it was cut."""
    if len(text) <= width and display_width(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _char_width(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"

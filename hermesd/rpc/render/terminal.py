"""Making foreign text safe to show: no control sequences, no control characters, no invisible re-ordering.

Sequences are those of ECMA-48 (CSI, OSC, DCS, SOS, PM, APC, and two-character escapes), in their 7- and 8-bit forms.
"""

from __future__ import annotations

import re
from enum import Enum, auto

# Anything that needs a look: C0 but tab and newline, DEL and C1, embedding and isolating bidi controls, surrogates.
_SUSPECT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_STRING_INTRODUCERS = frozenset("]PX^_")
_C1_STRINGS = frozenset("\x90\x98\x9d\x9e\x9f")


class _State(Enum):
    TEXT = auto()
    ESCAPE = auto()
    CSI = auto()
    STRING = auto()
    STRING_ESCAPE = auto()


class ControlFilter:
    """Takes control sequences out of a stream of text, also when chunks cut them in two.

    A control string (OSC …) that is not ended ends with its line, so that nothing can hide what follows.
    """

    def __init__(self) -> None:
        self._state = _State.TEXT

    def feed(self, text: str) -> str:
        """The harmless part of the next chunk."""
        if self._state is _State.TEXT and not _SUSPECT.search(text):
            return text
        return "".join(filter(self._keeps, text))

    def _keeps(self, char: str) -> bool:
        """Advance by one character; whether it is to be shown."""
        if char == "\n":
            self._state = _State.TEXT
            return True
        match self._state:
            case _State.TEXT:
                return self._in_text(char)
            case _State.ESCAPE:
                self._after_escape(char)
            case _State.CSI:
                if not " " <= char <= "?":
                    self._state = _State.ESCAPE if char == "\x1b" else _State.TEXT
            case _State.STRING:
                if char == "\x1b":
                    self._state = _State.STRING_ESCAPE
                elif char in "\x07\x9c":
                    self._state = _State.TEXT
            case _State.STRING_ESCAPE:
                self._state = _State.TEXT
                if char != "\\":
                    self._after_escape(char)
        return False

    def _in_text(self, char: str) -> bool:
        if not _SUSPECT.match(char):
            return True
        if char == "\x1b":
            self._state = _State.ESCAPE
        elif char == "\x9b":
            self._state = _State.CSI
        elif char in _C1_STRINGS:
            self._state = _State.STRING
        return False

    def _after_escape(self, char: str) -> None:
        if char == "[":
            self._state = _State.CSI
        elif char in _STRING_INTRODUCERS:
            self._state = _State.STRING
        elif char == "\x1b" or " " <= char <= "/":
            self._state = _State.ESCAPE
        else:
            self._state = _State.TEXT


def clean(text: str) -> str:
    """The whole text, made safe; newlines and tabs stay."""
    return ControlFilter().feed(text)


def one_line(text: str) -> str:
    """The same in one line: all white space becomes single spaces."""
    return " ".join(clean(text).split())

"""Regular expressions that cannot stall the daemon, whatever text they meet.

Python's ``re`` tries alternatives one after the other, so some patterns take time beyond all bounds for a text that
somebody chose. Here a pattern is taken only if the ways through it, multiplied, stay below ``MAX_WAYS`` for a text of
``MAX_SEEN`` characters: ``*``, ``+`` and ``{m,n}`` count as the length of the text (or twice what they allow, if that
is less), a group with ``|`` as twice its branches, ``?`` as such a group with an empty branch, and a start that is not
``^`` as the length again. A longer repeat of what may itself vary, a look around and a reference back are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARS = 200
MAX_SEEN = 256
MAX_WAYS = 4 * MAX_SEEN**3
_COUNTED = re.compile(r"\{(\d{0,3})(?:(,)(\d{0,3}))?\}")
_PLAIN_GROUP = "?:"


@dataclass(slots=True)
class _Group:
    """A group that is open: the ways through each branch that has ended, and through the one being read."""

    done: int = 0
    ways: int = 1

    def total(self) -> int:
        return 2 * (self.done + self.ways) if self.done else self.ways


def compile_pattern(text: str) -> re.Pattern[str]:
    """Raises ValueError with what is wrong with it."""
    if not 0 < len(text) <= MAX_CHARS:
        raise ValueError(f"is no pattern of 1 to {MAX_CHARS} characters")
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    except (OverflowError, RecursionError):
        raise ValueError("is no regular expression that can be used") from None
    if ways(text) > MAX_WAYS:
        raise ValueError("may take too long: it has too many ways to match")
    return pattern


def ways(text: str) -> int:
    """A bound, by the count above, of what ``re`` tries for a valid pattern. Raises ValueError for what is refused."""
    text = text.removeprefix("(?i)")
    stack = [_Group()]
    before, last = 1, 1  # the ways up to the item before, and through it: a repeat would multiply these
    at = 0
    while at < len(text):
        length = _length(text, at)
        char, group = text[at], stack[-1]
        if char == "(":
            stack.append(_Group())
        elif char == ")":
            last = stack.pop().total()
            before = stack[-1].ways
            stack[-1].ways = _bounded(before * last)
        elif char == "|":
            group.done, group.ways = group.done + group.ways, 1
        elif (choices := _choices(text[at : at + length])) is None:
            before, last = group.ways, 1
        else:
            if last > 1 and text[at] != "?":
                raise ValueError("repeats what may itself vary, which may take too long")
            group.ways = _bounded(before * (choices if text[at] != "?" else 2 * (last + 1)))
            length += text[at + length : at + length + 1] in ("?", "+")  # lazy or possessive
        at += length
    total = stack[0].total()
    return total if text.startswith("^") and not stack[0].done else total * MAX_SEEN


def _bounded(count: int) -> int:
    return min(count, MAX_WAYS + 1)


def _length(text: str, at: int) -> int:
    """How many characters the item has that begins there."""
    char = text[at]
    if char == "\\":
        if text[at + 1 : at + 2].isdigit() and text[at + 1] != "0":
            raise ValueError("refers back, which may take too long")
        return 2
    if char == "[":
        end = at + 1 + text[at + 1 : at + 2].count("^")
        end += 1  # a bracket in the first place means itself
        while text[end] != "]":
            end += 2 if text[end] == "\\" else 1
        return end + 1 - at
    if char == "(" and text[at + 1 : at + 2] == "?":
        if text[at + 1 : at + 3] != _PLAIN_GROUP:
            raise ValueError("has a group that begins with (? and is not (?:")
        return 3
    if char == "{" and (counted := _COUNTED.match(text, at)):
        return len(counted[0])
    return 1


def _choices(item: str) -> int | None:
    """What a repeat of one thing adds; None when the item is no repeat."""
    if item in ("*", "+"):
        return MAX_SEEN
    if item == "?":
        return 2
    counted = _COUNTED.fullmatch(item)
    if counted is None:
        return None
    least, comma, most = int(counted[1] or 0), counted[2], counted[3]
    if not comma:
        return 1
    return min(2 * (int(most) - least + 1) if most else MAX_SEEN, MAX_SEEN)

"""Patterns of files: ``*`` ``?`` ``[a-z]`` within a name, ``**`` for directories at any depth, as shells have them.

A wildcard does not match a dot at the beginning of a name, so ``**`` leaves ``.git`` and editors' swap files alone.
"""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from hermesd.errors import UsageError

MAX_PATTERN = 1024
MAX_DEEP = 3
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Pattern:
    """``base`` is a real path (symbolic links in it resolved when the pattern was read), ``parts`` what follows.

    Without parts the base itself is meant: a file, or a directory with everything below it.
    """

    base: str
    parts: tuple[str, ...]

    def matches(self, path: str) -> bool:
        """Whether a file of this absolute path is meant."""
        rest = self._rest(path)
        if rest is None:
            return False
        if not self.parts:
            return all(not name.startswith(".") for name in rest)
        return _match(self.parts, rest)

    def descends(self, path: str) -> bool:
        """Whether files that are meant may lie below this directory."""
        rest = self._rest(path)
        if rest is None:
            return False
        return _leads(self.parts or ("**",), rest)

    def _rest(self, path: str) -> tuple[str, ...] | None:
        """The names that follow the base."""
        if path == self.base:
            return ()
        base = self.base.rstrip("/") + "/"
        return tuple(path.removeprefix(base).split("/")) if path.startswith(base) else None


def parse_pattern(text: str) -> Pattern:
    """Read an absolute pattern. Raises UsageError."""
    if not text or len(text) > MAX_PATTERN or "\0" in text or not text.startswith(("/", "~")):
        raise UsageError(
            f"{text[:80]!r} is not a pattern of files", next_step="write an absolute path, like ~/notes/*.md"
        )
    names = [name for name in str(Path(text).expanduser()).split("/") if name not in ("", ".")]
    if ".." in names:
        raise UsageError(f"{text[:80]!r} contains ..", next_step="write the path without it")
    if names.count("**") > MAX_DEEP:
        raise UsageError(f"{text[:80]!r} has more than {MAX_DEEP} **", next_step="one is usually enough")
    first = next((number for number, name in enumerate(names) if _WILD.search(name)), len(names))
    base = os.path.realpath("/" + "/".join(names[:first]))
    return Pattern(base, tuple(names[first:]))


def _match(parts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    if not parts:
        return not names
    if parts[0] == "**":
        if len(parts) == 1:
            return bool(names) and all(not name.startswith(".") for name in names)
        return _match(parts[1:], names) or (bool(names) and not names[0].startswith(".") and _match(parts, names[1:]))
    return bool(names) and _name(parts[0], names[0]) and _match(parts[1:], names[1:])


def _leads(parts: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Whether a directory lies on the way."""
    if not parts or not names:
        return bool(parts)
    if parts[0] == "**" and not names[0].startswith(".") and _leads(parts, names[1:]):
        return True
    rest = parts[1:] if parts[0] == "**" else parts
    return bool(rest) and _name(rest[0], names[0]) and _leads(rest[1:], names[1:])


def _name(part: str, name: str) -> bool:
    if name.startswith(".") and not part.startswith("."):
        return False
    return _compiled(part).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(part: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(part))

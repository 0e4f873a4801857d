"""Names under which a model knows the tools of servers: ``mcp__server__tool``, each one tool's and always the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX = "mcp__"
MAX_NAME = 64  # what providers take for a function's name
_HASH_CHARS = 8
_OTHER = re.compile(r"[^A-Za-z0-9_]", re.ASCII)
_LIKE_HASHED = re.compile(rf".*_[0-9a-f]{{{_HASH_CHARS}}}", re.DOTALL)

Key = tuple[str, str]
"""A server's name and its own name of a tool."""


def plain_name(server: str, tool: str) -> str:
    """The name before collisions are looked at: other characters become ``_``.

    >>> plain_name("file-system", "read.text")
    'mcp__file_system__read_text'
    """
    return f"{PREFIX}{_OTHER.sub('_', server)}__{_OTHER.sub('_', tool)}"


def assign(keys: Iterable[Key]) -> dict[Key, str]:
    """A name for each key, whatever their order.

    Where several would share a name, the one that did not have to be changed keeps it and the others, or all, get a
    hash of their own name; so does a name that is too long, and one that passes itself off as hashed.
    """
    claims: dict[str, list[Key]] = {}
    for key in dict.fromkeys(keys):
        claims.setdefault(plain_name(*key), []).append(key)
    found: dict[Key, str] = {}
    for name, claimants in claims.items():
        exact = [key for key in claimants if f"{PREFIX}{key[0]}__{key[1]}" == name]
        exact = exact or [key for key in claimants if not _OTHER.search(key[1])]
        is_free = len(name) <= MAX_NAME and not _LIKE_HASHED.fullmatch(name)
        for key in claimants:
            alone = len(claimants) == 1 or exact == [key]
            found[key] = name if alone and is_free else _hashed(name, key)
    return found


def _hashed(name: str, key: Key) -> str:
    import hashlib

    digest = hashlib.sha256("\0".join(key).encode(errors="surrogatepass")).hexdigest()[:_HASH_CHARS]
    return f"{name[: MAX_NAME - _HASH_CHARS - 1]}_{digest}"

"""Which parts of an MCP server's settings are secrets: those that are kept in .env and never shown.

Any value of ``env`` and ``headers``, a ``url`` with a query, and words of ``args`` that a telling name stands before
(``--api-key``, ``-e GITHUB_TOKEN=``) or that look like a secret by themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from hermesd.config.secret_keys import REDACTED, is_secret
from hermesd.redact import Redactor, redact

if TYPE_CHECKING:
    from collections.abc import Sequence

HIDDEN_MAPS = frozenset({"env", "headers"})
"""Maps of which any value may be a secret, whatever its name."""

REFERENCE = re.compile(r"\$\{(?:env:)?[A-Za-z_][A-Za-z0-9_]*\}", re.ASCII)
_FORMS = Redactor()  # of its own: known forms of secrets, whatever some .env holds


class Word(NamedTuple):
    """An argument: what may be told, the secret that follows it ('' for none), and what that is called."""

    told: str
    secret: str = ""
    name: str = ""


def words(args: Sequence[str]) -> list[Word]:
    """Every argument, taken apart; one that refers to .env holds no secret."""
    return [_word(before, each) for before, each in zip(["", *args], args, strict=False)]


def shown_args(args: Sequence[str]) -> list[str]:
    """The arguments for people."""
    return [word.told + (REDACTED if word.secret else "") for word in words(args)]


def shown_url(url: str) -> str:
    """A url for people: without its query, and without what this process knows to be secret."""
    address, query, _ = url.partition("?")
    scheme, _, rest = address.partition("://")
    if holds_user(address):
        address = f"{scheme}://{REDACTED}@{rest.partition('/')[0].rpartition('@')[2]}{''.join(rest.partition('/')[1:])}"
    return redact(address) + (query and f"?{REDACTED}")


def holds_user(url: str) -> bool:
    """Whether a user name or a password stands before the host."""
    return "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]


def _word(before: str, word: str) -> Word:
    if not word or REFERENCE.search(word):
        return Word(word)
    name, equals, value = word.partition("=")
    if value and _tells(name):
        return Word(name + equals, value, name)
    if before.startswith("-") and not word.startswith("-") and _tells(before):
        return Word("", word, before)
    return Word("", word, "ARG") if _FORMS.redact(word) != word else Word(word)


def _tells(name: str) -> bool:
    name = name.lstrip("-").replace("-", "_")
    return is_secret(name) or is_secret(name.lower())

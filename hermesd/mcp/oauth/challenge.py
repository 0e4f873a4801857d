"""The Bearer or DPoP challenge of WWW-Authenticate (RFC 9110 §11.6.1, RFC 6750 §3, RFC 9449 §7.1, RFC 9728 §5.1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from hermesd.mcp.oauth.metadata import usable_url

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_HEADER_CHARS = 8192

# One item of the list: a scheme, or a parameter with a token or a quoted string. Each alternative begins differently.
_ITEM = re.compile(
    r"[ \t,]*(?P<name>[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64})"
    r"(?:[ \t]{0,8}=[ \t]{0,8}(?:\"(?P<quoted>(?:[^\"\\]|\\.)*)\"|(?P<plain>[^\s,\"]+)))?"
)
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")


class Challenge(msgspec.Struct, frozen=True):
    """What the resource server asks for; empty texts where it says nothing usable. ``dpop``: it takes proofs."""

    error: str = ""
    scope: str = ""
    resource_metadata: str = ""
    dpop: bool = False

    @property
    def wants_more_scope(self) -> bool:
        """Whether the token is good but not for this (RFC 6750 §3.1)."""
        return self.error == "insufficient_scope"


def parse_challenge(headers: Iterable[str]) -> Challenge:
    """The first Bearer and the first DPoP challenge in the header's values, as one; what both say, DPoP says.

    An empty challenge when there is neither. Never raises.
    """
    values = [value[:MAX_HEADER_CHARS] for value in headers]
    bearer, dpop = _first(values, "bearer"), _first(values, "dpop")
    found = {**(bearer or {}), **(dpop or {})}
    scope = found.get("scope", "")
    return Challenge(
        error=found.get("error", "")[:64],
        scope=scope if len(scope) <= 1024 and _SCOPE.fullmatch(scope) else "",
        resource_metadata=usable_url(found.get("resource_metadata", "")),
        dpop=dpop is not None,
    )


def _first(values: list[str], scheme: str) -> dict[str, str] | None:
    return next((found for value in values if (found := _parameters(value, scheme)) is not None), None)


def _parameters(value: str, scheme: str) -> dict[str, str] | None:
    """Those of the first challenge with this scheme; None without one."""
    found: dict[str, str] | None = None
    position = 0
    while match := _ITEM.match(value, position):
        position = match.end()
        quoted, plain = match["quoted"], match["plain"]
        if quoted is None and plain is None:  # a scheme begins
            if found is not None:
                break
            found = {} if match["name"].lower() == scheme else None
        elif found is not None:
            text = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            found.setdefault(match["name"].lower(), text)
    return found

"""Commands that people are told to type."""

from __future__ import annotations

import shlex

from hermesd.home import DEFAULT_PROFILE


def mcp_command(profile: str, *words: str) -> str:
    """``hermesctl mcp WORDS`` for a profile, by its ``told_name``; the default one is not named.

    >>> mcp_command("coder", "show", "notes")
    'hermesctl -p coder mcp show notes'
    """
    return shlex.join(["hermesctl", *(["-p", profile] if profile not in ("", DEFAULT_PROFILE) else []), "mcp", *words])

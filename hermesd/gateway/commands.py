"""Slash commands as they arrive from a chat.

A command is an event like any other, so that it is never lost: ``NewEvent.meta`` carries ``command`` (the name, lower
case, without the slash) and ``args`` (what stands behind it, '' for nothing); ``text`` is the message as written.
The router carries commands out.
"""

from __future__ import annotations

import re

import msgspec

DESCRIPTIONS = {
    "new": "start a fresh conversation",
    "stop": "stop what I am doing",
    "retry": "answer your last message again",
    "status": "what is going on",
    "approve": "allow what I asked about",
    "deny": "forbid what I asked about",
    "whoami": "the id under which I know you",
    "help": "what I understand",
}
"""What is shown in a platform's menu of commands."""

NAMES = frozenset(DESCRIPTIONS) | {"start", "reset", "commands"}

_COMMAND = re.compile(r"/([A-Za-z0-9_]{1,32})(?:@([A-Za-z0-9_]{1,64}))?(?:\s+(.*))?", re.DOTALL)


class Command(msgspec.Struct, frozen=True):
    """A slash command; ``named_us`` is True when it was written ``/name@our_bot``."""

    name: str
    args: str = ""
    named_us: bool = False

    @property
    def meta(self) -> dict[str, str]:
        """How an event carries it."""
        return {"command": self.name, "args": self.args}


def parse_command(text: str, bot_username: str = "") -> Command | None:
    """The command that ``text`` is, or None.

    An unknown name is a command only when nothing stands behind it (a typing error should be told, but "/tmp is full"
    is a sentence). A command for another bot (``/stop@other``) is not ours.
    """
    found = _COMMAND.fullmatch(text.strip())
    if found is None:
        return None
    name, bot, args = found.group(1).lower(), found.group(2) or "", (found.group(3) or "").strip()
    if bot and bot.lower() != bot_username.lower():
        return None
    if name not in NAMES and args:
        return None
    return Command(name, args, named_us=bool(bot))

"""Who may talk to a bot: nobody who is not listed.

A direct message is answered when its sender is listed. In a group the sender must be listed, or the group itself:
listing a group admits everyone in it. What passes is then heard only if it is addressed to the bot. ``*`` in the list
of users admits everybody, in direct messages and groups alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

Verdict = Literal["allow", "refuse", "ignore"]
"""allow: take it; refuse: not permitted, say so; ignore: permitted but not meant for us, or not worth an answer."""


class Party(msgspec.Struct, frozen=True):
    """A user or chat: the platform's id and the name that others may know it by."""

    id: str
    username: str = ""


class AccessList:
    """Allowed users and chats, each an id or a user name (with or without ``@``, in any case)."""

    def __init__(self, users: Iterable[int | str] = (), chats: Iterable[int | str] = ()) -> None:
        self._users = frozenset(map(_normal, users)) - {""}
        self._chats = frozenset(map(_normal, chats)) - {""}

    def judge(self, sender: Party, chat: Party, *, group: bool, addressed: bool) -> Verdict:
        """What to do with a message of ``sender`` in ``chat``."""
        allowed = self._knows(sender, self._users) or "*" in self._users or self._knows(chat, self._chats)
        if group and not addressed:
            return "ignore"
        return "allow" if allowed else "refuse"

    @staticmethod
    def _knows(party: Party, names: frozenset[str]) -> bool:
        return party.id in names or bool(party.username and _normal(party.username) in names)


def _normal(name: int | str) -> str:
    return str(name).strip().removeprefix("@").lower()

"""What was applied last, by the name of the manifest: one small value of the store, so it changes with the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.manifest.entry import Key
from hermesd.manifest.merge import Applied
from hermesd.store.records import ValueChange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.store.protocol import Store

VALUE = "manifests"
ONE_AT_A_TIME = trio.Lock()
"""Held from planning to the end of an apply: what was planned is what is there."""


class Ledger:
    """Of every manifest that was applied here."""

    def __init__(self, manifests: dict[str, dict[str, Applied]]) -> None:
        self._manifests = manifests

    @classmethod
    async def load(cls, store: Store) -> Ledger:
        """As it is stored."""
        value = await store.get_value(VALUE)
        return cls(msgspec.json.decode(value, type=dict[str, dict[str, Applied]]) if value else {})

    def of(self, name: str) -> dict[Key, Applied]:
        """The entries of one manifest."""
        return {_key(text): applied for text, applied in self._manifests.get(name, {}).items()}

    def owners(self, *, but: str) -> dict[Key, str]:
        """Who else has applied what."""
        return {_key(text): name for name, rows in self._manifests.items() if name != but for text in rows}

    def change(self, name: str, entries: Mapping[Key, Applied]) -> ValueChange:
        """Replace the entries of one manifest; the change that stores it."""
        self._manifests[name] = {str(key): entries[key] for key in sorted(entries)}
        if not entries:
            del self._manifests[name]
        return ValueChange(name=VALUE, value=msgspec.json.encode(self._manifests) if self._manifests else None)


def _key(text: str) -> Key:
    section, profile, name = text.split("/", 2)
    return Key(section, profile, name)

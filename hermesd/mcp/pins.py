"""Definitions of tools, pinned: what a tool says it is may not change behind the owner's back.

The hash of a definition is kept when the tool is first seen. A tool whose definition is another one later is in
quarantine, it is not offered and cannot be called, until its owner approves it (``hermesctl mcp approve``). A pin
outlives the tool: one that goes and comes back changed is noticed too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import trio

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from hermesd.store.protocol import Store

PINNED_FIELDS = ("name", "title", "description", "inputSchema", "outputSchema", "annotations")
THREADS = trio.CapacityLimiter(1)
MAX_PINS = 4096  # of one server; beyond it nothing new is taken

_Hashes = dict[str, dict[str, str]]  # server → tool → hash


def fingerprint(definition: Mapping[str, object]) -> str:
    """SHA-256 over what a model or a person decides by, whatever the order of its keys."""
    import hashlib

    body = msgspec.json.encode([definition.get(name) for name in PINNED_FIELDS], order="deterministic")
    return hashlib.sha256(body).hexdigest()


def mark(held: Mapping[str, str]) -> str:
    """What is held back, by names and fingerprints, in twelve characters: who has seen it can say that it was this."""
    import hashlib

    return hashlib.sha256(msgspec.json.encode(sorted(held.items()))).hexdigest()[:12] if held else ""


async def fingerprints(definitions: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """By the tools' names; in a thread, because a list may have megabytes."""

    def made() -> dict[str, str]:
        return {str(each.get("name")): fingerprint(each) for each in definitions}

    return await trio.to_thread.run_sync(made, limiter=THREADS)


def value_name(profile: str) -> str:
    """Where the pins of a profile stand in the store's values."""
    return f"mcp:pins:{profile}"


def told_name(profile: str) -> str:
    """Where it stands what of the held back tools has been told."""
    return f"mcp:held:{profile}"


class Pins:
    """The pins of one profile: server → its own name of a tool → hash. ``load`` first.

    With what has been told of: of a tool that is held back a person hears once for each of its changes, not at every
    start of the daemon.
    """

    def __init__(self, store: Store, profile: str) -> None:
        self._store = store
        self._name = value_name(profile)
        self._told_name = told_name(profile)
        self._known: _Hashes | None = None
        self._told: _Hashes = {}
        self._writing = trio.Lock()

    async def load(self) -> None:
        """Read them, once. Raises StoreError; unreadable pins are an error too, never taken for none."""
        if self._known is None:
            found = await self._store.get_value(self._name)
            known = msgspec.json.decode(found, type=_Hashes) if found else {}
            told = await self._store.get_value(self._told_name)
            if self._known is None:
                self._known, self._told = known, msgspec.json.decode(told, type=_Hashes) if told else {}

    async def check(self, server: str, definitions: Sequence[Mapping[str, object]]) -> dict[str, str]:
        """Pin what is new, durably; returns the tools that are not what they were, with what they are now."""
        await self.load()
        assert self._known is not None
        found = await fingerprints(definitions)
        async with self._writing:
            pins = self._known.get(server, {})
            new = {name: value for name, value in found.items() if name not in pins}
            new = dict(list(new.items())[: max(0, MAX_PINS - len(pins))])
            if new:
                pins = {**pins, **new}
                await self._keep(server, pins)
        return {name: value for name, value in found.items() if pins.get(name) != value}

    async def approve(self, server: str, found: Mapping[str, str]) -> None:
        """Take these definitions (by their fingerprints, as ``check`` told them) for the right ones from now on."""
        await self.load()
        assert self._known is not None
        async with self._writing:
            await self._keep(server, {**self._known.get(server, {}), **found})

    def untold(self, server: str, held: Mapping[str, str]) -> list[str]:
        """Which of the tools that are held back (as ``check`` says) have not been told of as they are now; sorted."""
        told = self._told.get(server, {})
        return sorted(name for name, value in held.items() if told.get(name) != value)

    async def tell(self, server: str, held: Mapping[str, str], listed: Collection[str]) -> None:
        """Note that these have been told of. A tool that is ``listed`` and right again would be news the next time."""
        before = self._told.get(server, {})
        told = {name: value for name, value in before.items() if name not in listed} | dict(held)
        told = dict(list(told.items())[:MAX_PINS])
        if told != before:
            async with self._writing:
                all_told = {**self._told, server: told}
                await self._store.set_value(self._told_name, msgspec.json.encode(all_told))
                self._told = all_told

    async def _keep(self, server: str, pins: dict[str, str]) -> None:
        assert self._known is not None
        known = {**self._known, server: pins}
        await self._store.set_value(self._name, msgspec.json.encode(known))
        self._known = known  # not before: what the disk has refused would be taken for pinned until the next start


async def move(store: Store, old: str, new: str | None) -> None:
    """Let the pins follow their profile to its new name, or (None) forget them with it."""
    for name_of in (told_name, value_name):
        found = await store.get_value(name_of(old))
        if found is not None:
            if new is not None:
                await store.set_value(name_of(new), found)
            await store.set_value(name_of(old), None)

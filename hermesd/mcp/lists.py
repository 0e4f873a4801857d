"""Lists of tools kept over a restart, so that a lazy server need not be started to be offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection

    from hermesd.config.schema import McpServerConfig
    from hermesd.store.protocol import Store

MAX_BYTES = 1024 * 1024
"""A longer list is not kept; its server is started to be asked."""


class Listing(msgspec.Struct, frozen=True):
    """What a server said it has, as plain data, and what of it could not be used."""

    tools: list[dict[str, Any]] = []
    faults: list[str] = []
    capabilities: dict[str, Any] = {}


class _Kept(msgspec.Struct, frozen=True):
    identity: str
    listing: Listing


class ListCache:
    """The kept lists of one profile, in the store's values. One of another program or address is not used.

    Which servers have one stands in a value of its own, so that they can follow their profile.
    """

    def __init__(self, store: Store, profile: str) -> None:
        self._store = store
        self._profile = profile

    async def get(self, server: str, config: McpServerConfig) -> Listing | None:
        """The list of a lazy server as it was."""
        if config.lifecycle != "lazy" or not config.enabled:
            return None
        found = await self._store.get_value(_value_name(self._profile, server))
        try:
            kept = msgspec.json.decode(found, type=_Kept) if found else None
        except msgspec.DecodeError:
            return None  # of another version; the server is asked again
        return kept.listing if kept and kept.identity == _identity(config) else None

    async def keep(self, server: str, config: McpServerConfig, listing: Listing) -> None:
        """Keep a lazy server's list."""
        if config.lifecycle != "lazy":
            return
        names = await _names(self._store, self._profile)
        if server not in names:
            await _note(self._store, self._profile, [*names, server])
        body = msgspec.json.encode(_Kept(_identity(config), listing))
        await self._store.set_value(_value_name(self._profile, server), body if len(body) <= MAX_BYTES else None)

    async def forget_all_but(self, servers: Collection[str]) -> None:
        """Forget the lists of servers that are not configured any more."""
        names = await _names(self._store, self._profile)
        kept = [name for name in names if name in servers]
        if kept != names:
            for name in names:
                if name not in servers:
                    await self._store.set_value(_value_name(self._profile, name), None)
            await _note(self._store, self._profile, kept)


async def move(store: Store, old: str, new: str | None) -> None:
    """Let the lists follow their profile to its new name, or (None) forget them with it. May be repeated."""
    names = await _names(store, old)
    if new is not None and names:
        await _note(store, new, names)
    for name in names:
        found = await store.get_value(_value_name(old, name))
        if found is not None:
            if new is not None:
                await store.set_value(_value_name(new, name), found)
            await store.set_value(_value_name(old, name), None)
    if names:
        await _note(store, old, [])


async def _names(store: Store, profile: str) -> list[str]:
    """The servers of a profile that have a list."""
    found = await store.get_value(f"mcp:lists:{profile}")
    return msgspec.json.decode(found, type=list[str]) if found else []


async def _note(store: Store, profile: str, names: list[str]) -> None:
    await store.set_value(f"mcp:lists:{profile}", msgspec.json.encode(names) if names else None)


def _value_name(profile: str, server: str) -> str:
    return f"mcp:list:{profile}:{server}"


def _identity(config: McpServerConfig) -> str:
    import hashlib

    body = msgspec.json.encode([config.command, config.args, config.cwd, config.url])
    return hashlib.sha256(body).hexdigest()

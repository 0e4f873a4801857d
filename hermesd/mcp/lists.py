"""Lists of tools kept over a restart, so that a lazy server need not be started to be offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from hermesd.config.schema import McpServerConfig
    from hermesd.store.protocol import Store

MAX_BYTES = 1024 * 1024
"""A longer list is not kept; its server is started to be asked."""


class Listing(msgspec.Struct, frozen=True):
    """What a server said it has, as plain data."""

    tools: list[dict[str, Any]] = []
    capabilities: dict[str, Any] = {}


class _Kept(msgspec.Struct, frozen=True):
    identity: str
    listing: Listing


class ListCache:
    """The kept lists of one profile, in the store's values. One of another program or address is not used."""

    def __init__(self, store: Store, profile: str) -> None:
        self._store = store
        self._prefix = f"mcp:list:{profile}:"

    async def get(self, server: str, config: McpServerConfig) -> Listing | None:
        """The list of a lazy server as it was."""
        if config.lifecycle != "lazy" or not config.enabled:
            return None
        found = await self._store.get_value(self._prefix + server)
        try:
            kept = msgspec.json.decode(found, type=_Kept) if found else None
        except msgspec.DecodeError:
            return None  # of another version; the server is asked again
        return kept.listing if kept and kept.identity == _identity(config) else None

    async def keep(self, server: str, config: McpServerConfig, listing: Listing) -> None:
        """Keep a lazy server's list."""
        if config.lifecycle != "lazy":
            return
        body = msgspec.json.encode(_Kept(_identity(config), listing))
        await self._store.set_value(self._prefix + server, body if len(body) <= MAX_BYTES else None)


def _identity(config: McpServerConfig) -> str:
    import hashlib

    body = msgspec.json.encode([config.command, config.args, config.cwd, config.url])
    return hashlib.sha256(body).hexdigest()

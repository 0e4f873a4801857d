"""Where tools keep what must outlive a call: values in the store, processes in the profile's table."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermesd.store.protocol import Store
    from hermesd.tools.terminal.processes import ProcessTable


class StoredToolState:
    """The tools' state of one session (``tools.state.ToolState``)."""

    __slots__ = ("_prefix", "_processes", "_store")

    def __init__(self, store: Store, processes: ProcessTable, *, session_id: str) -> None:
        self._store = store
        self._processes = processes
        self._prefix = f"tool:{session_id}:"

    @property
    def processes(self) -> ProcessTable:
        """The profile's background processes."""
        return self._processes

    async def get(self, name: str) -> bytes | None:
        """A value set earlier in this session."""
        return await self._store.get_value(self._prefix + name)

    async def set(self, name: str, value: bytes | None) -> None:
        """Keep or (None) forget a value, durably."""
        await self._store.set_value(self._prefix + name, value)

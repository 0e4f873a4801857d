"""What a tool may keep between calls of one session: small JSON values and the processes it left running."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from hermesd.tools.terminal.processes import ProcessTable


class ToolState(Protocol):
    """State of one session's tools; values outlive the daemon, processes do not."""

    @property
    def processes(self) -> ProcessTable:
        """The profile's background processes."""

    async def get(self, name: str) -> bytes | None:
        """A value set earlier in this session."""

    async def set(self, name: str, value: bytes | None) -> None:
        """Keep or (None) forget a value, durably."""

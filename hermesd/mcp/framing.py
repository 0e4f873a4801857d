"""Lines out of pieces, in linear time and bounded memory (MCP 2025-11-25, Transports, stdio: one message a line)."""

from __future__ import annotations

from hermesd.mcp.errors import McpError


class LineFramer:
    """Feed it what was read, take whole lines. A piece is looked at once, however long its line is."""

    def __init__(self, cap: int) -> None:
        self.cap = cap
        self._parts: list[bytes] = []
        self.held = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that this piece completes, without their ends and without empty ones.

        Raises McpError (protocol) when a line exceeds the cap, and forgets that line.
        """
        head, *rest = piece.split(b"\n")
        self._hold(head)
        lines = []
        for part in rest:
            lines.append(self._parts[0] if len(self._parts) == 1 else b"".join(self._parts))
            self._parts.clear()
            self.held = 0
            self._hold(part)
        return [line for raw in lines if (line := raw.rstrip(b"\r"))]

    def _hold(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
            self.held += len(part)
            if self.held > self.cap:
                self._parts.clear()
                self.held = 0
                raise McpError(f"sent a line of more than {self.cap} bytes", kind="protocol")

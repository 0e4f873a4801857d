"""What goes wrong with an MCP server, by kind; the kinds decide what a caller does next."""

from __future__ import annotations

from typing import Literal

from hermesd.errors import HermesError

McpErrorKind = Literal["down", "timeout", "auth", "protocol", "cancelled", "tool"]


class McpError(HermesError):
    """A server, or what stands in front of it, failed.

    ``kind``: down (not connected, or broke), timeout, auth (a person must sign in), protocol (its answer makes no
    sense), cancelled, tool (the tool itself reported an error).
    """

    rpc_code = -32010

    def __init__(self, what: str, *, kind: McpErrorKind, where: str = "", next_step: str = "") -> None:
        super().__init__(what, where=where, next_step=next_step)
        self.kind = kind

    @property
    def needs_reauth(self) -> bool:
        """Whether nothing but a person's sign-in helps."""
        return self.kind == "auth"

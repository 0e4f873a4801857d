"""The SDK's session without its own check of answers. Imported with the SDK (``sdk.load``): its base class is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.client.session import ClientSession

if TYPE_CHECKING:
    from mcp_types import CallToolResult


class Session(ClientSession):
    """As ClientSession, but answers are compared with a tool's output schema by ``hermesd.mcp.output``.

    The SDK does it with all of JSON Schema on the loop: one pattern of a hostile server stops the daemon for hours.
    """

    async def validate_tool_result(self, name: str, result: CallToolResult) -> None:
        """Nothing; async because the SDK awaits it."""

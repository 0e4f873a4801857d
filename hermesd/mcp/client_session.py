"""The SDK's session, less strict with answers. Imported with the SDK (``sdk.load``): its base class is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.client.session import ClientSession

from hermesd.mcp.sifting import SiftingDispatcher

if TYPE_CHECKING:
    from mcp_types import CallToolResult

    from hermesd.mcp.link import Link


class Session(ClientSession):
    """As ClientSession, but one wrong entry of a list costs no more than itself (``hermesd.mcp.sifting``).

    Answers are compared with a tool's output schema by ``hermesd.mcp.output``: the SDK does it with all of JSON Schema
    on the loop, and one pattern of a hostile server stops the daemon for hours. ``options`` are ClientSession's.
    """

    def __init__(self, link: Link, **options: Any) -> None:  # noqa: ANN401 - the base class has their types
        dispatcher = SiftingDispatcher(link.read, link.write)
        super().__init__(dispatcher=dispatcher, **options)
        dispatcher.version = lambda: self.protocol_version

    async def validate_tool_result(self, name: str, result: CallToolResult) -> None:
        """Nothing; async because the SDK awaits it."""

"""An MCP server of one tool, to try hermesd with or to begin one's own from: ``python3 examples/dice.py``.

It needs the package ``mcp``, which hermesd brings along. See docs/mcp.md.
"""

from __future__ import annotations

import random

from mcp.server.mcpserver import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("dice")


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def roll(sides: int = 6) -> str:
    """Roll a die."""
    return f"{random.randint(1, max(1, sides))} of {sides}"  # noqa: S311 - a game


if __name__ == "__main__":
    server.run("stdio")

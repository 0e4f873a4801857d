"""An HTTP MCP server made with the official SDK: its tool ``ask {question}`` asks the user for a colour.

From a shell: ``python -m tests.servers.mcp_elicits PORT streamable-http``.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.servers.mcp_http import HttpServer, free_port


@contextlib.contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Its address while it runs; it logs into ``directory``."""
    server = HttpServer(
        free_port(), "streamable-http", directory / "mcp_elicits.log", module="tests.servers.mcp_elicits"
    )
    server.start()
    try:
        yield server.url
    finally:
        server.kill()


def main() -> None:
    """Serve until killed."""
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context
    from pydantic import BaseModel

    server = MCPServer("elicits")

    class Colour(BaseModel):
        colour: str

    async def ask(question: str, ctx: Context) -> str:
        found = await ctx.elicit(question, Colour)
        return f"accept {found.data.colour}" if found.action == "accept" else found.action

    ask.__annotations__ |= {"question": str, "ctx": Context, "return": str}  # names of this function, not the module
    server.add_tool(ask)
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))


if __name__ == "__main__":
    main()

"""This daemon as an MCP server for other agents: what is offered, and the two ways to it (stdio and HTTP)."""

"""MCP: servers as supervised services, their tools, and how one signs in to them."""

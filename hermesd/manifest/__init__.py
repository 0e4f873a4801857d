"""Jobs, webhooks, MCP servers and profiles as a file declares them: read, compared with what is there, applied."""

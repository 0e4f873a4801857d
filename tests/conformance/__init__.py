"""The MCP conformance suite (npm ``@modelcontextprotocol/conformance``), run one scenario at a time and judged here.

install ── the suite and a node that can run it, fetched on first use
suite ──── which scenarios there are, one run, its outcome
page ───── docs/mcp-conformance.md
client ─── the client under test: hermesd, reached over its socket
witness ── runs the client under test and writes down how it ended
"""

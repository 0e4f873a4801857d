"""Signing in to MCP servers (MCP authorization, revision 2025-11-25), unattended and with a person.

manager ── one provider a server, kept over reconnects; what the rest of hermesd calls
provider ─ httpx2.Auth: puts the token on a request, has it renewed, gives up in words
login ──── a person signs in: loopback listener (callback), browser or pasted URL
unattended ─ tokens by configured credentials alone; id_jag: those of a company's identity provider
binding ── whether tokens are bound to a key, and to which; dpop: that key and its proofs
remote ─── the same for a person at a client elsewhere
logout ─── tokens are revoked and deleted
watch ──── files that others change are noticed
grant ──── one token request at the authorization server: refresh or code
discovery, registration, metadata, challenge ── who the authorization server is and who we are to it
storage ── mcp-tokens/<server>*.json under a lock between processes
ssrf, fetch ── requests that reach only addresses they may
"""

"""The Unix socket: wire, server, peers and methods."""

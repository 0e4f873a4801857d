"""OAuth servers of others from npm, with MCP servers behind them: the TypeScript SDK's demo, and oauth2-mock-server.

- the demo: its own registration with a client secret, opaque tokens, no refresh tokens, everything forgotten at its end
- oauth2-mock-server: no registration (any client_id), JWTs, OpenID discovery only, rotation, revocation

From a shell: ``python -m tests.servers.mcp_oauth_npm [demo|mock]``. npm installs them into ``tests/servers/node_oauth``
when they are first needed; ``OAUTH_NODE_MODULES`` names another place.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.servers.mcp_http import free_port
from tests.servers.oidc import AuthorizationServer, node_modules, running
from tests.waiting import wait_until

NODE = Path(__file__).parent / "node_oauth"
DEMO = "@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js"


@contextlib.contextmanager
def mock_server(life_s: int = 3600) -> Iterator[AuthorizationServer]:
    """oauth2-mock-server and an MCP server with the tool ``add``."""
    modules = node_modules(NODE, "OAUTH_NODE_MODULES", "mock.js")
    with running(["node", str(modules.parent / "mock.js"), str(life_s)]) as server:
        yield server


@dataclass
class Demo:
    """The SDK's example server, with ``--oauth``; it can be started again on its ports, and then knows nobody."""

    port: int = field(default_factory=free_port)
    auth_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def resource(self) -> str:
        return f"http://localhost:{self.port}/mcp"

    def start(self) -> None:
        """Start, and return once both ports are open."""
        program = node_modules(NODE, "OAUTH_NODE_MODULES") / DEMO
        environment = {**os.environ, "MCP_PORT": str(self.port), "MCP_AUTH_PORT": str(self.auth_port)}
        self.process = subprocess.Popen(
            ["node", str(program), "--oauth"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for port in (self.port, self.auth_port):
            wait_until(lambda port=port: _is_open(port) or self._has_ended())  # type: ignore[misc]  # of this round
        assert not self._has_ended(), "the demo server ended"

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def demo_server() -> Iterator[Demo]:
    """The running demo; gone at the end."""
    demo = Demo()
    try:
        demo.start()
        yield demo
    finally:
        demo.kill()


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("localhost", port), 1):
        return True
    return False


if __name__ == "__main__":
    chosen = {"demo": demo_server, "mock": mock_server}[sys.argv[1] if len(sys.argv) > 1 else "demo"]
    with chosen() as started:
        print(started.resource, flush=True)
        signal.sigwait({signal.SIGINT, signal.SIGTERM})

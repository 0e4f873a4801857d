"""The MCP SDK's authorization server over a store in memory, and a real MCP server that it protects (uvicorn).

Unlike npm oidc-provider it gives every client a secret, publishes no ``none`` method, sends no ``iss`` and does not
rotate refresh tokens: a refresh answer has none. From a shell: ``python -m tests.servers.mcp_auth``.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tests.servers.oidc import AuthorizationServer, running

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from tests.servers.mcp_auth_store import Store


@contextlib.contextmanager
def sdk_server(life_s: int = 3600) -> Iterator[AuthorizationServer]:
    """Start it as a process and stop it at the end."""
    with running([sys.executable, "-m", "tests.servers.mcp_auth", str(life_s)]) as server:
        yield server


def main(life_s: int) -> None:
    """Serve until killed; the first line of the output is the address."""
    import uvicorn

    from tests.servers.mcp_auth_store import Store

    listener = socket.create_server(("127.0.0.1", 0))
    issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    store = Store(life_s)
    app = _server(store, issuer).streamable_http_app(json_response=True)
    app.routes.extend(_routes(store))
    print(json.dumps({"issuer": issuer, "resource": f"{issuer}/mcp"}), flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


def _server(store: Store, issuer: str) -> MCPServer[Any]:
    """A tool, a resource and a prompt, all behind the sign-in."""
    from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions, RevocationOptions
    from mcp.server.mcpserver import MCPServer
    from pydantic import AnyHttpUrl

    settings = AuthSettings(
        issuer_url=AnyHttpUrl(issuer),
        resource_server_url=AnyHttpUrl(f"{issuer}/mcp"),
        client_registration_options=ClientRegistrationOptions(
            enabled=True, valid_scopes=["mcp"], default_scopes=["mcp"]
        ),
        revocation_options=RevocationOptions(enabled=True),
        required_scopes=["mcp"],
        validate_token_resource=True,
    )
    server: MCPServer[Any] = MCPServer(
        "protected",
        auth_server_provider=store,  # type: ignore[arg-type]  # without the methods of grants that are not offered
        auth=settings,
    )

    @server.tool()
    def add(one: int, other: int) -> int:
        """The sum."""
        return one + other

    @server.resource("note://one")
    def note() -> str:
        """A note."""
        return "a protected note"

    @server.prompt()
    def greet(name: str) -> str:
        """A greeting."""
        return f"Greet {name}."

    return server


def _routes(store: Store) -> list[Route]:
    """For tests: a plain resource, counts, and what may go wrong on the server's side."""
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    used = {"called": 0, "unauthorized": 0}

    async def ping(request: Request) -> JSONResponse:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        found = store.access.get(token)
        if found is None or (found.expires_at or 0) < time.time():
            used["unauthorized"] += 1
            return JSONResponse({}, 401, {"www-authenticate": 'Bearer error="invalid_token"'})
        used["called"] += 1
        return JSONResponse({"scope": " ".join(found.scopes)})

    async def counts(_: Request) -> JSONResponse:
        return JSONResponse({**store.counts, **used, "refused": []})

    async def forget_clients(_: Request) -> JSONResponse:
        store.clients.clear()
        return JSONResponse({})

    async def revoke(_: Request) -> JSONResponse:
        store.revoke_all()
        return JSONResponse({})

    return [
        Route("/mcp/ping", ping),
        Route("/counts", counts),
        Route("/forget-clients", forget_clients),
        Route("/revoke-all", revoke),
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3600)

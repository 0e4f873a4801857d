"""The MCP SDK's authorization server over a store in memory, and a real MCP server that it protects (uvicorn).

Unlike npm oidc-provider it gives every client a secret, publishes no ``none`` method, sends no ``iss`` and does not
rotate refresh tokens: a refresh answer has none. From a shell: ``python -m tests.servers.mcp_auth``.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.servers.oidc import AuthorizationServer, running


@contextlib.contextmanager
def sdk_server(life_s: int = 3600) -> Iterator[AuthorizationServer]:
    """Start it as a process and stop it at the end."""
    with running([sys.executable, "-m", "tests.servers.mcp_auth", str(life_s)]) as server:
        yield server


def main(life_s: int) -> None:
    """Serve until killed; the first line of the output is the address."""
    import uvicorn
    from mcp.server.auth.provider import (
        AccessToken,
        AuthorizationCode,
        AuthorizationParams,
        RefreshToken,
        construct_redirect_uri,
    )
    from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
    from mcp.server.mcpserver import MCPServer
    from mcp.shared.auth import OAuthClientInformationFull, OAuthToken
    from pydantic import AnyHttpUrl
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    counts = {"register": 0, "code": 0, "refresh": 0, "refused": [], "called": 0, "unauthorized": 0}

    class Store:
        """Everybody is signed in and agrees."""

        def __init__(self) -> None:
            self.clients: dict[str, OAuthClientInformationFull] = {}
            self.codes: dict[str, AuthorizationCode] = {}
            self.access: dict[str, AccessToken] = {}
            self.refresh: dict[str, RefreshToken] = {}

        async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
            return self.clients.get(client_id)

        async def register_client(self, client_info: OAuthClientInformationFull) -> None:
            counts["register"] += 1
            self.clients[str(client_info.client_id)] = client_info

        async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
            code = secrets.token_urlsafe(24)
            self.codes[code] = AuthorizationCode(
                code=code,
                scopes=params.scopes or ["mcp"],
                expires_at=time.time() + 60,
                client_id=str(client.client_id),
                code_challenge=params.code_challenge,
                redirect_uri=params.redirect_uri,
                redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
                resource=params.resource,
            )
            return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

        async def load_authorization_code(self, _: Any, code: str) -> AuthorizationCode | None:
            return self.codes.get(code)

        async def exchange_authorization_code(self, client: Any, code: AuthorizationCode) -> OAuthToken:
            del self.codes[code.code]
            counts["code"] += 1
            kept = RefreshToken(
                token=secrets.token_urlsafe(24), client_id=client.client_id, scopes=code.scopes, resource=code.resource
            )
            self.refresh[kept.token] = kept
            return self._issue(client.client_id, kept, kept.token)

        async def load_refresh_token(self, _: Any, token: str) -> RefreshToken | None:
            return self.refresh.get(token)

        async def exchange_refresh_token(self, client: Any, token: RefreshToken, scopes: list[str]) -> OAuthToken:
            counts["refresh"] += 1
            return self._issue(client.client_id, token, None)

        def _issue(self, client_id: str, grant: RefreshToken, refresh: str | None) -> OAuthToken:
            token = secrets.token_urlsafe(24)
            expires = int(time.time()) + life_s
            self.access[token] = AccessToken(
                token=token, client_id=client_id, scopes=grant.scopes, expires_at=expires, resource=grant.resource
            )
            return OAuthToken(access_token=token, expires_in=life_s, refresh_token=refresh)

        async def load_access_token(self, token: str) -> AccessToken | None:
            return self.access.get(token)

        async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
            self.access.pop(token.token, None)

    store = Store()

    async def ping(request: Request) -> JSONResponse:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        found = store.access.get(token)
        if found is None or (found.expires_at or 0) < time.time():
            counts["unauthorized"] += 1
            return JSONResponse({}, 401, {"www-authenticate": 'Bearer error="invalid_token"'})
        counts["called"] += 1
        return JSONResponse({"scope": " ".join(found.scopes)})

    async def show_counts(_: Request) -> JSONResponse:
        return JSONResponse(counts)

    async def forget_clients(_: Request) -> JSONResponse:
        store.clients.clear()
        return JSONResponse({})

    async def revoke(_: Request) -> JSONResponse:
        """Every token at once, refresh tokens too."""
        store.access.clear()
        store.refresh.clear()
        return JSONResponse({})

    listener = socket.create_server(("127.0.0.1", 0))
    issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    settings = AuthSettings(
        issuer_url=AnyHttpUrl(issuer),
        resource_server_url=AnyHttpUrl(f"{issuer}/mcp"),
        client_registration_options=ClientRegistrationOptions(
            enabled=True, valid_scopes=["mcp"], default_scopes=["mcp"]
        ),
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

    app = server.streamable_http_app(json_response=True)
    app.routes.extend(
        [
            Route("/mcp/ping", ping),
            Route("/counts", show_counts),
            Route("/forget-clients", forget_clients),
            Route("/revoke", revoke),
        ]
    )
    print(json.dumps({"issuer": issuer, "resource": f"{issuer}/mcp"}), flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3600)

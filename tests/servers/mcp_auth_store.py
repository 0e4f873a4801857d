"""The memory of the authorization server in ``mcp_auth``: an ``OAuthAuthorizationServerProvider`` of the MCP SDK.

Imported in that process only, because it needs the SDK.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from mcp.server.auth.provider import (
    AccessToken,
    AuthorizationCode,
    AuthorizationParams,
    RefreshToken,
    construct_redirect_uri,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

CODE_LIFE_S = 60


class Store:
    """Everybody is signed in and agrees. ``counts``: register, code, refresh, revoked."""

    def __init__(self, life_s: int) -> None:
        self.life_s = life_s
        self.counts = {"register": 0, "code": 0, "refresh": 0, "revoked": 0}
        self.clients: dict[str, OAuthClientInformationFull] = {}
        self.codes: dict[str, AuthorizationCode] = {}
        self.access: dict[str, AccessToken] = {}
        self.refresh: dict[str, RefreshToken] = {}

    async def get_client(self, client_id: str) -> OAuthClientInformationFull | None:
        return self.clients.get(client_id)

    async def register_client(self, client_info: OAuthClientInformationFull) -> None:
        self.counts["register"] += 1
        self.clients[str(client_info.client_id)] = client_info

    async def authorize(self, client: OAuthClientInformationFull, params: AuthorizationParams) -> str:
        code = secrets.token_urlsafe(24)
        self.codes[code] = AuthorizationCode(
            code=code,
            scopes=params.scopes or ["mcp"],
            expires_at=time.time() + CODE_LIFE_S,
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
        self.counts["code"] += 1
        kept = RefreshToken(
            token=secrets.token_urlsafe(24), client_id=client.client_id, scopes=code.scopes, resource=code.resource
        )
        self.refresh[kept.token] = kept
        return self._issue(client.client_id, kept, kept.token)

    async def load_refresh_token(self, _: Any, token: str) -> RefreshToken | None:
        return self.refresh.get(token)

    async def exchange_refresh_token(self, client: Any, token: RefreshToken, scopes: list[str]) -> OAuthToken:
        self.counts["refresh"] += 1
        return self._issue(client.client_id, token, None)

    def _issue(self, client_id: str, grant: RefreshToken, refresh: str | None) -> OAuthToken:
        token = secrets.token_urlsafe(24)
        expires = int(time.time()) + self.life_s
        self.access[token] = AccessToken(
            token=token, client_id=client_id, scopes=grant.scopes, expires_at=expires, resource=grant.resource
        )
        return OAuthToken(access_token=token, expires_in=self.life_s, refresh_token=refresh)

    async def load_access_token(self, token: str) -> AccessToken | None:
        return self.access.get(token)

    async def revoke_token(self, token: AccessToken | RefreshToken) -> None:
        """One token (RFC 7009)."""
        self.counts["revoked"] += 1
        self.access.pop(token.token, None)
        self.refresh.pop(token.token, None)

    def revoke_all(self) -> None:
        """Every token at once, refresh tokens too."""
        self.access.clear()
        self.refresh.clear()

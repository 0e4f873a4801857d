"""What a sign-in at a hostile server has left on disk, and a call with it."""

from __future__ import annotations

import httpx2

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.metadata import Tokens
from hermesd.mcp.oauth.storage import TokenStorage
from tests.servers.hostile import Hostile

GOOD = Tokens("access-1", refresh_token="refresh-1", expires_in=3600.0, expires_at=1.0)


def signed_in(hostile: Hostile, storage: TokenStorage, **metadata: object) -> str:
    """Files as a sign-in leaves them, with tokens that have expired; returns the server's URL."""
    url = hostile.protect(**metadata)
    storage.write_tokens(GOOD)
    storage.write_client({"client_id": "client-1", "token_endpoint_auth_method": "none", "issuer": hostile.url})
    _, _, document = hostile.replies["/.well-known/oauth-authorization-server"]  # type: ignore[misc]  # a fixed one
    assert isinstance(document, dict)
    storage.write_meta(document)
    hostile.replies["/mcp"] = lambda form: (
        (200, {}, {}) if form.get("header:authorization") == "Bearer access-2" else (401, {}, {})
    )
    return url


async def call(url: str, storage: TokenStorage, manager: OAuthManager | None = None) -> int:
    manager = manager or OAuthManager(storage.directory)
    auth = manager.get_or_build_provider("srv", url, McpServerConfig())
    async with httpx2.AsyncClient(auth=auth, trust_env=False) as client:
        return (await client.get(url)).status_code

"""A directory of tokens in which a person has signed in to a server, in this process."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import msgspec

from hermesd.config.schema import McpOAuthConfig, McpServerConfig
from hermesd.mcp.oauth.keeper import TokenKeeper
from hermesd.mcp.oauth.login import Surface
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.metadata import Tokens
from hermesd.mcp.oauth.provider import OAuthProvider
from hermesd.mcp.oauth.storage import TokenStorage
from tests.servers.oidc import AuthorizationServer, Browser, opening

SETTINGS = McpServerConfig(oauth=McpOAuthConfig(timeout=60))


@dataclass
class Signed:
    """A profile's directory in which a person has signed in, and what works with it."""

    storage: TokenStorage
    server: AuthorizationServer
    browser: Browser
    said: list[str]

    @property
    def tokens(self) -> Tokens:
        found = self.storage.read_tokens()
        assert found is not None
        return found

    @property
    def refreshes(self) -> int:
        return int(self.server.counts()["refresh"])

    def manager(self) -> OAuthManager:
        """A new one, as after a restart; its provider is built."""
        manager = OAuthManager(self.storage.directory)
        manager.get_or_build_provider("srv", self.server.resource, SETTINGS)
        return manager

    @asynccontextmanager
    async def client(self, manager: OAuthManager) -> AsyncIterator[httpx2.AsyncClient]:
        auth = manager.get_or_build_provider("srv", self.server.resource, SETTINGS)
        async with httpx2.AsyncClient(auth=auth, trust_env=False, base_url=self.server.resource, timeout=60) as client:
            yield client

    async def status(self, manager: OAuthManager, query: str = "") -> int:
        async with self.client(manager) as client:
            return (await client.get(self.server.resource + query)).status_code

    def write(self, **changes: object) -> None:
        """Change the token file as another program might."""
        self.storage.write_tokens(msgspec.structs.replace(self.tokens, **changes))

    def expire(self) -> None:
        self.write(expires_at=time.time() - 5)

    async def login(self) -> None:
        surface = Surface(self.said.append, opening(self.browser))
        await OAuthManager(self.storage.directory).login("srv", self.server.resource, SETTINGS, surface)


async def sign_in(server: AuthorizationServer, tmp_path: Path) -> Signed:
    signed = Signed(TokenStorage(tmp_path / "mcp-tokens", "srv"), server, Browser(), [])
    await signed.login()
    return signed


def keeper_of(manager: OAuthManager, signed: Signed) -> TokenKeeper:
    auth = manager.get_or_build_provider("srv", signed.server.resource, SETTINGS)
    assert isinstance(auth, OAuthProvider)
    return auth.keeper

"""A supervised MCP server behind OAuth: the SDK's own server, called through McpServer with our provider."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import msgspec
import pytest
import trio

from hermesd.config.schema import McpOAuthConfig, McpServerConfig
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.login import Surface
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.storage import TokenStorage
from hermesd.mcp.server import McpServer
from tests.servers.mcp_auth import sdk_server
from tests.servers.oidc import AuthorizationServer, Browser, opening

SOAK = bool(os.environ.get("HERMESD_SOAK"))


@pytest.fixture
def protected() -> Iterator[AuthorizationServer]:
    with sdk_server() as server:
        yield server


async def test_a_call_recovers_once_or_says_that_a_person_is_needed(
    protected: AuthorizationServer, tmp_path: Path
) -> None:
    """Expired: renewed in passing. Revoked: needs_reauth at once. After a sign-in: calls work again."""
    config = McpServerConfig(url=protected.resource, auth="oauth", oauth=McpOAuthConfig(timeout=60), connect_timeout=60)
    storage = TokenStorage(tmp_path / "mcp-tokens", "srv")
    manager = OAuthManager(storage.directory)
    surface = Surface(lambda _: None, opening(Browser()))
    await manager.login("srv", protected.resource, config, surface)
    provider = manager.get_or_build_provider("srv", protected.resource, config)
    server = McpServer("default", "srv", config, auth=provider)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: manager.run(task_status=task_status))
        await nursery.start(lambda task_status: server.run(task_status=task_status))

        async def add() -> object:
            return (await server.call_tool("add", {"one": 1, "other": 2}, timeout_s=60))["structuredContent"]

        assert await add() == {"result": 3}
        tokens = storage.read_tokens()
        assert tokens is not None
        storage.write_tokens(msgspec.structs.replace(tokens, expires_at=time.time() - 5))
        assert await add() == {"result": 3}
        storage.write_tokens(msgspec.structs.replace(tokens, access_token="rejected-though-it-looks-fresh"))
        assert await add() == {"result": 3}
        assert protected.counts()["refresh"] == 2

        async with httpx2.AsyncClient(trust_env=False) as client:
            await client.get(f"{protected.issuer}/revoke-all")
        begun = trio.current_time()
        for _ in range(5):
            with pytest.raises(McpError) as caught:
                await add()
            assert caught.value.needs_reauth
        if SOAK:
            assert trio.current_time() - begun < 2
        failure = manager.failure("srv")
        assert failure is not None
        assert failure.next_step == "run `hermesctl mcp login srv`"
        assert protected.counts()["refresh"] == 2

        await manager.login("srv", protected.resource, config, surface)
        if server.state != "ready":
            server.reconnect()
        with trio.fail_after(1 if SOAK else 60):
            assert await add() == {"result": 3}
        nursery.cancel_scope.cancel()

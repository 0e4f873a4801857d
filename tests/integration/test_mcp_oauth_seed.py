"""The five cases that the manager of sign-ins was designed for: real files, a real authorization server, no mocks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trio

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.server import McpServer
from tests.servers.mcp_auth import sdk_server
from tests.servers.oidc import AuthorizationServer, oidc_provider
from tests.servers.signed import SETTINGS, keeper_of, sign_in


@pytest.fixture(scope="module")
def oidc() -> Iterator[AuthorizationServer]:
    with oidc_provider() as server:
        yield server


@pytest.fixture
def sdk() -> Iterator[AuthorizationServer]:
    with sdk_server() as server:
        yield server


async def test_external_refresh_picked_up_without_restart(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """Another process renews the tokens: the next request of this one uses them, with no 401 in between."""
    oidc.reset()
    signed = await sign_in(oidc, tmp_path)
    manager = signed.manager()
    assert await signed.status(manager) == 200
    command = [sys.executable, "-m", "tests.servers.rotator", str(signed.storage.directory), oidc.resource, "1", "1"]
    await trio.run_process(command, capture_stdout=True)
    new = signed.tokens.access_token
    async with signed.client(manager) as client:
        answer = await client.get(oidc.resource)
    assert answer.request.headers["authorization"] == f"Bearer {new}"
    assert oidc.counts()["unauthorized"] == 1  # the question with which the sign-in began
    assert signed.refreshes == 1


async def test_handle_401_deduplicates_concurrent_callers(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """Ten callers whose calls failed with the same token cause one refresh, and all may try again."""
    oidc.reset()
    signed = await sign_in(oidc, tmp_path)
    manager, failed = signed.manager(), signed.tokens.access_token
    answers: list[bool] = []

    async def caller() -> None:
        answers.append(await manager.handle_401("srv", failed))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(caller)
    assert answers == [True] * 10
    assert signed.refreshes == 1
    assert await manager.handle_401("srv", failed)  # a late one: the token is another already
    assert signed.refreshes == 1


async def test_handle_401_returns_false_when_no_provider(tmp_path: Path) -> None:
    """For a server that is not known there is nothing to recover with."""
    assert not await OAuthManager(tmp_path).handle_401("nobody", "token")


def test_invalidate_if_disk_changed_handles_missing_file(tmp_path: Path) -> None:
    """Before the first sign-in there is no file, and that is no news."""
    manager = OAuthManager(tmp_path / "mcp-tokens")
    assert not manager.invalidate_if_disk_changed("srv")
    manager.get_or_build_provider("srv", "https://mcp.example/mcp", SETTINGS)
    assert not manager.invalidate_if_disk_changed("srv")


async def test_provider_is_reused_across_reconnects(sdk: AuthorizationServer, tmp_path: Path) -> None:
    """A server that reconnects keeps its provider, which still knows the file: nothing is renewed, changes are seen."""
    signed = await sign_in(sdk, tmp_path)
    manager = signed.manager()
    keeper = keeper_of(manager, signed)
    config = msgspec.structs.replace(SETTINGS, url=sdk.resource, auth="oauth")
    provider = manager.get_or_build_provider("srv", sdk.resource, config)
    assert provider.keeper is keeper  # type: ignore[attr-defined]  # known to httpx2 as an Auth
    server = McpServer("default", "srv", config, auth=provider)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        for _ in range(3):
            assert await server.wait_ready(15)
            assert (await server.call_tool("add", {"one": 1, "other": 2}))["structuredContent"] == {"result": 3}
            server.reconnect()
        assert await server.wait_ready(15)
        assert manager.get_or_build_provider("srv", sdk.resource, config) is provider
        assert keeper.renewals == 0
        signed.write(scope="mcp")  # by somebody else
        assert manager.invalidate_if_disk_changed("srv")
        nursery.cancel_scope.cancel()


def test_a_server_with_another_url_or_other_settings_gets_a_provider_of_its_own(tmp_path: Path) -> None:
    """What was found out about one server is never used for another."""
    manager = OAuthManager(tmp_path)
    first = manager.get_or_build_provider("srv", "https://mcp.example/mcp", SETTINGS)
    other = manager.get_or_build_provider("srv", "https://other.example/mcp", SETTINGS)
    assert other is not first
    assert manager.get_or_build_provider("srv", "https://other.example/mcp", McpServerConfig()) is not other

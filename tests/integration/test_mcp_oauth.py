"""Signing in to MCP servers, against an authorization server of others, with real files and real requests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.login import Surface, login
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.settings import OAuthSettings, ServerIdentity
from tests.servers.mcp_auth import sdk_server
from tests.servers.oidc import AuthorizationServer, oidc_provider
from tests.servers.signed import Signed, keeper_of, sign_in

SOAK = bool(os.environ.get("HERMESD_SOAK"))
"""The long forms of O4 and O5: 100 rotations a process, ten minutes at a life of 3 s."""
TOO_LONG_S = 60.0


@pytest.fixture(scope="module")
def oidc_process() -> Iterator[AuthorizationServer]:
    with oidc_provider() as server:
        yield server


@pytest.fixture(scope="module")
def sdk() -> Iterator[AuthorizationServer]:
    with sdk_server() as server:
        yield server


@pytest.fixture
def oidc(oidc_process: AuthorizationServer) -> AuthorizationServer:
    oidc_process.reset()
    return oidc_process


# -- the sign-in itself ----------------------------------------------------------------------------------------------
async def test_a_sign_in_registers_and_leaves_three_private_files(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """After a sign-in the server takes the token, and tokens, registration and metadata are on disk, 0600."""
    signed = await sign_in(oidc, tmp_path)
    assert await signed.status(signed.manager()) == 200
    for path in (signed.storage.tokens_path, signed.storage.client_path, signed.storage.meta_path):
        assert path.stat().st_mode & 0o777 == 0o600
    assert signed.tokens.expires_at == pytest.approx(time.time() + 3600, abs=30)
    assert signed.storage.read_client()["issuer"] == signed.storage.read_meta()["issuer"] == oidc.issuer
    assert "code_challenge_method=S256" in signed.browser.visited[0]
    assert "resource=http" in signed.browser.visited[0]
    assert oidc.counts()["register"] == 1
    assert signed.storage.read_meta()["dpop_signing_alg_values_supported"]
    assert (signed.tokens.token_type, signed.storage.key_path.exists()) == ("Bearer", False)  # the resource wants none


async def test_a_second_sign_in_uses_the_registration_again(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """The port that is registered is taken again, so one registration serves all sign-ins."""
    signed = await sign_in(oidc, tmp_path)
    before = signed.tokens
    await signed.login()
    assert signed.tokens.access_token != before.access_token
    assert oidc.counts()["register"] == 1


async def test_a_registration_that_the_server_forgot_is_made_anew(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """Nobody is sent to an error page: the sign-in notices that the client is unknown and registers again."""
    signed = await sign_in(oidc, tmp_path)
    signed.storage.write_client({**signed.storage.read_client(), "client_id": "long-gone"})
    await signed.login()
    assert oidc.counts()["register"] == 2
    assert await signed.status(signed.manager()) == 200


async def test_a_sign_in_that_is_given_up_leaves_the_old_one(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """Nobody came: the error says so, and registration, metadata and tokens are as they were."""
    signed = await sign_in(oidc, tmp_path)
    files = (signed.storage.tokens_path, signed.storage.client_path, signed.storage.meta_path)
    before = [path.read_bytes() for path in files]
    surface = Surface(signed.said.append)
    with pytest.raises(McpError) as caught:
        await login(ServerIdentity("srv", oidc.resource), OAuthSettings(timeout=1), signed.storage, surface)
    assert caught.value.kind == "auth"
    assert [path.read_bytes() for path in files] == before
    assert await signed.status(signed.manager()) == 200


# -- the manager; the five cases of its design are in test_mcp_oauth_seed.py ----------------------------------------
async def test_removing_a_server_forgets_its_provider_and_files(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """Nothing of it is left that could be presented."""
    signed = await sign_in(oidc, tmp_path)
    manager = signed.manager()
    assert await manager.remove("srv")
    assert not [path.name for path in signed.storage.directory.iterdir() if path.suffix == ".json"]
    assert not await manager.remove("srv")
    assert not await manager.handle_401("srv", "token")


# -- acceptance, quick forms -----------------------------------------------------------------------------------------
async def test_o1_concurrent_calls_do_not_wait_for_each_other(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """The server answers the four only when all of them are there. (Long: four of 2 s take 2.3 s at most.)"""
    signed = await sign_in(oidc, tmp_path)
    async with signed.client(signed.manager()) as client:
        await client.get(oidc.resource)
        with trio.fail_after(TOO_LONG_S):
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(client.get, f"{oidc.resource}?together=4")
        assert oidc.counts()["called"] == 5
        if SOAK:
            with trio.fail_after(2.3):
                async with trio.open_nursery() as nursery:
                    for _ in range(4):
                        nursery.start_soon(client.get, f"{oidc.resource}?ms=2000")


async def test_o2_a_restart_with_an_expired_token_refreshes_once(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """A new process with an expired access token and a valid refresh token: one refresh, no browser, no 401."""
    signed = await sign_in(oidc, tmp_path)
    signed.expire()
    oidc.reset()
    assert await signed.status(signed.manager()) == 200
    counts = oidc.counts()
    assert (counts["refresh"], counts["unauthorized"], counts["metadata"], counts["code"]) == (1, 0, 0, 0)
    assert len(signed.browser.visited) == 1


async def test_o3_fifty_calls_at_expiry_make_one_refresh(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """However many need a new token at once, the server is asked once, and no call fails."""
    signed = await sign_in(oidc, tmp_path)
    manager, answers = signed.manager(), []
    async with signed.client(manager) as client:
        await client.get(oidc.resource)
        signed.expire()

        async def call() -> None:
            answers.append((await client.get(oidc.resource)).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(call)
    assert answers == [200] * 50
    assert signed.refreshes == 1


async def test_o4_processes_rotate_one_token_file(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """Three processes with ten tasks each renew again and again: the server never sees a refresh token twice."""
    signed = await sign_in(oidc, tmp_path)
    times = 100 if SOAK else 8
    arguments = [str(signed.storage.directory), oidc.resource, str(times), "10"]
    command = [sys.executable, "-m", "tests.servers.rotator", *arguments]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = [await trio.to_thread.run_sync(process.communicate) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [int(output) for output, _ in outputs] == [times] * 3
    assert oidc.counts()["refused"] == []
    assert times <= signed.refreshes <= 3 * times
    assert await signed.status(signed.manager()) == 200


async def test_o5_short_lives_fail_no_call(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """Tokens that live a second are renewed in time, call after call, for two servers side by side (long: four)."""
    life_s, refreshes, servers = (3.0, 200, 4) if SOAK else (1.0, 3, 2)
    oidc.reset(life_s=life_s)
    signed = [await sign_in(oidc, tmp_path / str(number)) for number in range(servers)]

    async def work(one: Signed) -> None:
        manager = one.manager()
        async with one.client(manager) as client:
            while keeper_of(manager, one).renewals < refreshes:
                assert (await client.get(f"{oidc.resource}?ms=100")).status_code == 200

    with trio.fail_after(900.0 if SOAK else TOO_LONG_S):
        async with trio.open_nursery() as nursery:
            for one in signed:
                nursery.start_soon(work, one)
    counts = oidc.counts()
    assert counts["refresh"] == servers * refreshes
    assert counts["refused"] == []


async def test_o6_without_a_refresh_token_a_person_is_asked_for_at_once(
    oidc: AuthorizationServer, tmp_path: Path
) -> None:
    """A rejected token that nothing can renew: an error that names the command, and no storm of requests."""
    signed = await sign_in(oidc, tmp_path)
    signed.write(access_token="revoked", refresh_token=None)
    manager = signed.manager()
    oidc.reset()
    await assert_needs_reauth(signed, manager)
    assert oidc.counts()["unauthorized"] == 1
    await signed.login()
    assert await signed.status(manager) == 200


async def test_o6_a_revoked_grant_is_presented_once(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """The refresh token is refused: it is not sent again until a person has signed in, which mends the next call."""
    signed = await sign_in(oidc, tmp_path)
    signed.write(refresh_token="revoked", expires_at=time.time() - 5)
    manager = signed.manager()
    oidc.reset()
    await assert_needs_reauth(signed, manager)
    assert oidc.counts()["refused"] == ["invalid_grant"]
    assert signed.tokens.refresh_token == "revoked"  # it is theirs: nothing is deleted
    await signed.login()
    assert await signed.status(manager) == 200


async def assert_needs_reauth(signed: Signed, manager: OAuthManager) -> None:
    """Twenty calls, all refused with words that help, and with no secret in them; in 2 s, by the long form."""
    async with signed.client(manager) as client:
        begun = trio.current_time()
        for _ in range(20):
            with pytest.raises(McpError) as caught:
                await client.get(signed.server.resource)
            assert caught.value.needs_reauth
            assert "hermesctl mcp login srv" in caught.value.next_step
            assert "revoked" not in str(caught.value)
        if SOAK:
            assert trio.current_time() - begun < 2
    failure = manager.failure("srv")
    assert failure is not None
    assert failure.needs_reauth


async def test_more_rights_are_asked_for_at_the_next_sign_in(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """A 403 with insufficient_scope needs a person; what is held and what is wanted are then both asked for."""
    signed = await sign_in(oidc, tmp_path)
    manager = signed.manager()
    with pytest.raises(McpError, match="mcp:write"):
        await signed.status(manager, "?scope=mcp:write")
    assert await signed.status(manager) == 200
    await signed.login()
    assert await signed.status(manager, "?scope=mcp:write") == 200
    assert await signed.status(manager, "?scope=mcp:read") == 200


async def test_a_caller_who_is_cancelled_in_a_refresh_loses_nothing(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """The refresh goes on without its caller; the rotated token is saved, and the next call needs no other."""
    signed = await sign_in(oidc, tmp_path)
    manager = signed.manager()
    signed.expire()
    async with trio.open_nursery() as service:
        await service.start(lambda task_status: manager.run(task_status=task_status))
        keeper = keeper_of(manager, signed)
        with trio.CancelScope() as caller:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(signed.status, manager)
                while not keeper.renewals:
                    await trio.sleep(0)
                caller.cancel()
        assert await signed.status(manager) == 200
        service.cancel_scope.cancel()
    assert signed.refreshes == 1
    assert oidc.counts()["refused"] == []


# -- a server of another library -------------------------------------------------------------------------------------
async def test_a_server_with_secrets_and_without_rotation_works_too(sdk: AuthorizationServer, tmp_path: Path) -> None:
    """The MCP SDK's server: a secret in the body, no new refresh token in a refresh answer, so the old one is kept."""
    signed = await sign_in(sdk, tmp_path)
    manager, kept = signed.manager(), signed.tokens.refresh_token
    before: Any = signed.refreshes
    for _ in range(2):
        signed.expire()
        assert await signed.status(manager, "/ping") == 200
        assert signed.tokens.refresh_token == kept
    assert signed.refreshes == before + 2
    assert signed.storage.read_client()["client_secret"]


async def test_a_forgotten_registration_is_set_aside_and_the_tokens_stay(
    sdk: AuthorizationServer, tmp_path: Path
) -> None:
    """``invalid_client`` at a refresh: the registration becomes .bak, a sign-in makes a new one."""
    signed = await sign_in(sdk, tmp_path)
    manager = signed.manager()
    async with httpx2.AsyncClient(trust_env=False) as client:
        await client.get(f"{sdk.issuer}/forget-clients")
    signed.expire()
    with pytest.raises(McpError, match="invalid_client"):
        await signed.status(manager, "/ping")
    assert not signed.storage.client_path.exists()
    assert signed.storage.client_path.with_name("srv.client.json.bak").exists()
    assert signed.tokens.refresh_token
    await signed.login()
    assert await signed.status(manager, "/ping") == 200

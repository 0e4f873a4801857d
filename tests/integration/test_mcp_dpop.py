"""Tokens that are bound to a key, from an authorization server of others; it and the resource want nonces."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.dpop import new_key
from tests.servers.daemon import MCP, Daemon
from tests.servers.oidc import AuthorizationServer, oidc_provider
from tests.servers.person import Signing
from tests.servers.signed import SETTINGS, sign_in

pytestmark = pytest.mark.loaded(MCP)


@pytest.fixture(scope="module")
def process() -> Iterator[AuthorizationServer]:
    with oidc_provider(dpop=True) as server:
        yield server


@pytest.fixture
def oidc(process: AuthorizationServer) -> AuthorizationServer:
    process.reset()
    return process


async def test_a_sign_in_is_bound_to_a_key_that_lies_beside_the_tokens(
    oidc: AuthorizationServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The file is private; request, refresh and restart work; nothing of the key or of a proof is logged."""
    caplog.set_level(logging.DEBUG)
    signed = await sign_in(oidc, tmp_path)
    assert signed.tokens.token_type == "DPoP"
    assert signed.storage.key_path.stat().st_mode & 0o777 == 0o600
    assert "dpop_jkt=" in signed.browser.visited[0]
    manager = signed.manager()
    assert await signed.status(manager) == 200
    assert oidc.counts()["proofs"] == ["use_dpop_nonce"]
    before = signed.tokens
    signed.expire()
    assert await signed.status(manager) == 200
    assert (signed.refreshes, signed.tokens.token_type) == (1, "DPoP")
    assert signed.tokens.access_token != before.access_token
    assert await signed.status(signed.manager()) == 200
    assert str(signed.storage.read_key()["d"]) not in caplog.text
    assert "eyJ" not in caplog.text


async def test_a_nonce_that_changes_costs_each_request_one_repetition(
    oidc: AuthorizationServer, tmp_path: Path
) -> None:
    """However many are under way: none of them is taken for a refused token, and nothing is refreshed."""
    signed = await sign_in(oidc, tmp_path)
    manager = signed.manager()
    assert await signed.status(manager) == 200
    oidc.change_nonce()
    statuses: list[int] = []
    async with signed.client(manager) as client, trio.open_nursery() as nursery:

        async def ask() -> None:
            statuses.append((await client.get(oidc.resource)).status_code)

        for _ in range(10):
            nursery.start_soon(ask)
    assert statuses == [200] * 10
    assert set(oidc.counts()["proofs"]) == {"use_dpop_nonce"}
    assert signed.refreshes == 0


async def test_a_copied_token_is_good_for_nothing(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """Neither as a bearer token nor with somebody else's key: the resource is one that checks."""
    signed = await sign_in(oidc, tmp_path)
    token = signed.tokens.access_token
    with httpx2.Client(trust_env=False) as client:
        assert client.get(oidc.resource, headers={"authorization": f"Bearer {token}"}).status_code == 401
        proof = (await new_key()).proof("GET", oidc.resource, token=token)
        headers = {"authorization": f"DPoP {token}", "dpop": proof}
        assert client.get(oidc.resource, headers=headers).status_code == 401
    assert oidc.counts()["proofs"] == ["invalid_token", "invalid_token"]


async def test_a_second_sign_in_keeps_the_key_and_signing_out_deletes_it(
    oidc: AuthorizationServer, tmp_path: Path
) -> None:
    """A key that changed before its tokens did would leave the old ones without theirs."""
    signed = await sign_in(oidc, tmp_path)
    first = signed.storage.key_path.read_bytes()
    await signed.login()
    assert signed.storage.key_path.read_bytes() == first
    result = await signed.manager().logout("srv", oidc.resource, SETTINGS)
    assert result.revoked
    assert not signed.storage.key_path.exists()
    await signed.login()
    assert await signed.manager().remove("srv")
    assert not signed.storage.key_path.exists()


async def test_without_its_key_a_person_is_needed(oidc: AuthorizationServer, tmp_path: Path) -> None:
    """The token is not sent without a proof, and the words say which command mends it."""
    signed = await sign_in(oidc, tmp_path)
    signed.storage.key_path.unlink()
    with pytest.raises(McpError, match="key that its access is bound to is gone") as caught:
        await signed.status(signed.manager())
    assert caught.value.needs_reauth
    assert oidc.counts()["called"] == oidc.counts()["unauthorized"] - 1 == 0


def test_a_daemon_calls_a_tool_with_proofs(oidc: AuthorizationServer, daemon: Daemon) -> None:
    """Signed in from the command line, called over the socket, and again once nonce and token have ended."""
    signing = Signing(daemon, oidc.resource)
    signing.configure()
    assert signing.run("login", "srv", "--no-browser").returncode == 0
    daemon.start()
    assert signing.state() == "ready"
    assert signing.add(2, 3) == "5"
    oidc.change_nonce()
    signing.expire()
    assert signing.add(2, 5) == "7"
    assert oidc.counts()["refresh"] == 1
    assert set(oidc.counts()["proofs"]) == {"use_dpop_nonce"}
    for secret in (str(signing.storage.read_key()["d"]), "eyJ"):
        assert secret not in daemon.output

"""Tokens by configured credentials alone, from an authorization server on loopback that checks what it is sent."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jwt
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from hermesd.config.schema import McpOAuthConfig, McpServerConfig
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.keeper import TokenKeeper
from hermesd.mcp.oauth.login import Surface
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.provider import OAuthProvider
from hermesd.mcp.oauth.storage import TokenStorage
from hermesd.mcp.oauth.unattended import ASSERTION_TYPE, JWT_BEARER

SECRET = "s3cret/with+signs"


class Server(ThreadingHTTPServer):
    """An MCP server and its authorization server; ``path`` of the issuer may be changed while it runs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.issuer = f"{self.origin}/one"
        self.refusal = ""
        self.life_s = 3600
        self.asked: list[dict[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        at = self.server
        if "oauth-protected-resource" in self.path:
            self.answer(200, {"resource": f"{at.origin}/mcp", "authorization_servers": [at.issuer]})
        elif "/.well-known/oauth-authorization-server/" in self.path:
            issuer = f"{at.origin}/{self.path.rpartition('/')[2]}"
            metadata = {"issuer": issuer, "authorization_endpoint": f"{issuer}/authorize"}
            self.answer(200, {**metadata, "token_endpoint": f"{issuer}/token"})
        else:
            self.answer(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if not self.path.endswith("/token"):
            self.answer(401, {}, {"www-authenticate": 'Bearer scope="tools"'})
            return
        at = self.server
        at.asked.append({**dict(parse_qsl(body)), "authorization": self.headers.get("authorization", "")})
        if at.refusal:
            self.answer(400, {"error": at.refusal})
            return
        token = {"access_token": f"token-{len(at.asked)}", "token_type": "Bearer", "expires_in": at.life_s}
        self.answer(200, token)

    def answer(self, status: int, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        fields = {**(headers or {}), "content-type": "application/json", "content-length": str(len(body))}
        for name, field in fields.items():
            self.send_header(name, field)
        self.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def keeper_of(server: Server, tmp_path: Path, **oauth: Any) -> TokenKeeper:
    url = f"{server.origin}/mcp"
    config = McpServerConfig(url=url, auth="oauth", oauth=McpOAuthConfig(client_id="robot", **oauth))
    provider = OAuthManager(tmp_path / "mcp-tokens").get_or_build_provider("srv", url, config)
    assert isinstance(provider, OAuthProvider)
    return provider.keeper


def with_secret(server: Server, tmp_path: Path, **more: Any) -> TokenKeeper:
    return keeper_of(server, tmp_path, grant="client_credentials", client_secret=SECRET, **more)


async def test_a_server_is_signed_in_to_by_its_credentials_and_again_when_a_token_ends(
    server: Server, tmp_path: Path
) -> None:
    """One request for any number of callers; the token outlives a restart, and there is nothing to refresh."""
    keeper = with_secret(server, tmp_path)
    tokens: list[str] = []

    async def ask() -> None:
        tokens.append(await keeper.usable_token())

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert tokens == ["token-1"] * 10
    [asked] = server.asked
    assert (asked["grant_type"], asked["scope"], asked["resource"]) == (
        "client_credentials",
        "tools",
        f"{server.origin}/mcp",
    )
    assert asked["client_secret"] == SECRET
    assert await with_secret(server, tmp_path).usable_token() == "token-1"
    assert await keeper.recover("token-1")
    assert await keeper.usable_token() == "token-2"
    assert len(server.asked) == 2


@pytest.mark.parametrize("kind", ["ES256", "RS256", "EdDSA"])
async def test_a_key_signs_in_place_of_a_secret(server: Server, tmp_path: Path, kind: str) -> None:
    """RFC 7523 section 3: issuer and subject are the client, the audience is the authorization server's issuer."""
    made = {
        "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RS256": lambda: rsa.generate_private_key(65537, 2048),
        "EdDSA": ed25519.Ed25519PrivateKey.generate,
    }
    key: Any = made[kind]()
    path = tmp_path / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    keeper = keeper_of(server, tmp_path, grant="client_credentials", private_key_file=str(path))
    assert await keeper.usable_token() == "token-1"
    [asked] = server.asked
    assert asked["client_assertion_type"] == ASSERTION_TYPE
    claims = jwt.decode(asked["client_assertion"], key.public_key(), algorithms=[kind], audience=server.issuer)
    assert (claims["iss"], claims["sub"]) == ("robot", "robot")
    assert claims["exp"] - claims["iat"] == 300
    assert "client_secret" not in asked


async def test_a_workloads_own_token_is_read_anew_each_time(server: Server, tmp_path: Path) -> None:
    """Whoever runs the machine replaces the file before what is in it ends."""
    path = tmp_path / "token"
    path.write_text("first.part.sig\n")
    keeper = keeper_of(server, tmp_path, grant="jwt_bearer", assertion_file=str(path))
    await keeper.usable_token()
    path.write_text("second.part.sig\n")
    assert await keeper.recover(None)
    assert [(each["grant_type"], each["assertion"]) for each in server.asked] == [
        (JWT_BEARER, "first.part.sig"),
        (JWT_BEARER, "second.part.sig"),
    ]


async def test_credentials_go_to_no_other_authorization_server(server: Server, tmp_path: Path) -> None:
    """Neither where the MCP server changes its mind after the first time, nor where the owner has named one."""
    keeper = with_secret(server, tmp_path)
    await keeper.usable_token()
    server.issuer = f"{server.origin}/two"
    assert not await keeper.recover("token-1")
    assert "two" in str(keeper.failure)
    named = with_secret(server, tmp_path / "other", issuer=f"{server.origin}/one")
    with pytest.raises(McpError, match="our credentials do not belong"):
        await named.usable_token()
    assert len(server.asked) == 1
    moved = with_secret(server, tmp_path, issuer=f"{server.origin}/two")
    await moved.recover("token-1")
    assert len(server.asked) == 2


async def test_refused_credentials_are_not_tried_again_at_once(server: Server, tmp_path: Path) -> None:
    """No storm of requests, an error that names the server and the command, and no secret in it."""
    server.refusal = "unauthorized_client"
    keeper = with_secret(server, tmp_path)
    for _ in range(5):
        with pytest.raises(McpError) as caught:
            await keeper.usable_token()
        assert caught.value.needs_reauth
        assert "unauthorized_client" in str(caught.value)
        assert SECRET not in repr(caught.value.__dict__)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "oauth",
    [
        {"grant": "client_credentials"},
        {"grant": "jwt_bearer"},
        {"grant": "jwt_bearer", "assertion_file": "/nonexistent/token"},
        {"grant": "client_credentials", "private_key_file": "/etc/hostname"},
    ],
)
async def test_what_does_not_suffice_is_said_with_where_to_set_it(
    server: Server, tmp_path: Path, oauth: dict[str, Any]
) -> None:
    """Nothing is sent to the authorization server."""
    with pytest.raises(McpError, match=r"oauth\."):
        await keeper_of(server, tmp_path, **oauth).usable_token()
    assert server.asked == []


async def test_login_tries_the_credentials_at_once_and_asks_nobody(server: Server, tmp_path: Path) -> None:
    """``mcp login`` shows no address; a running daemon finds the token in the file. Basic authentication escapes."""
    url = f"{server.origin}/mcp"
    oauth = McpOAuthConfig(client_id="robot", client_secret=SECRET, grant="client_credentials")
    config = McpServerConfig(url=url, auth="oauth", oauth=oauth)
    said: list[str] = []
    manager = OAuthManager(tmp_path / "mcp-tokens")
    await manager.login("srv", url, config, Surface(said.append))
    assert said == []
    found = TokenStorage(tmp_path / "mcp-tokens", "srv").read_tokens()
    assert found is not None
    assert (found.access_token, found.refresh_token) == ("token-1", None)
    server.refusal = "invalid_client"
    with pytest.raises(McpError, match="refused"):
        await manager.login("srv", url, config, Surface(said.append))
    basic = server.asked[-1]["authorization"].removeprefix("Basic ")
    assert base64.b64decode(basic).decode() == "robot:s3cret%2Fwith%2Bsigns"

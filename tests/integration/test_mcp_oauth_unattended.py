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
from hermesd.mcp.oauth.id_jag import ID_JAG, ID_TOKEN, TOKEN_EXCHANGE
from hermesd.mcp.oauth.keeper import TokenKeeper
from hermesd.mcp.oauth.login import Surface
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.provider import OAuthProvider
from hermesd.mcp.oauth.storage import TokenStorage
from hermesd.mcp.oauth.unattended import ASSERTION_TYPE, JWT_BEARER

SECRET = "s3cret/with+signs"


class Server(ThreadingHTTPServer):
    """An MCP server, its authorization server (``issuer`` may be changed while it runs) and an identity provider.

    ``scheme`` DPoP: tokens are bound to the key of a proof. ``exchanged``: what the identity provider was asked.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.server_port}"
        self.issuer = f"{self.origin}/one"
        self.refusal = ""
        self.life_s = 3600
        self.asked: list[dict[str, str]] = []
        self.idp = f"{self.origin}/idp"
        self.idp_answer: tuple[int, dict[str, str]] = (200, {"access_token": "id.jag.sig", "issued_token_type": ID_JAG})
        self.exchanged: list[dict[str, str]] = []
        self.scheme = "Bearer"


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
        at = self.server
        if not self.path.endswith("/token"):
            self.answer(401, {}, {"www-authenticate": f'{at.scheme} scope="tools"'})
            return
        if self.path == "/idp/token":
            at.exchanged.append(dict(parse_qsl(body)))
            self.answer(*at.idp_answer)
            return
        at.asked.append({**dict(parse_qsl(body)), "authorization": self.headers.get("authorization", "")})
        at.asked[-1]["proof"] = self.headers.get("dpop", "")
        if at.refusal:
            self.answer(400, {"error": at.refusal})
            return
        token = {"access_token": f"token-{len(at.asked)}", "token_type": at.scheme, "expires_in": at.life_s}
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
        {"grant": "id_jag", "id_token_file": "/nonexistent/token"},
        {"grant": "id_jag", "idp_issuer": "https://idp.example"},
        {"grant": "id_jag", "idp_issuer": "https://idp.example", "id_token_file": "/nonexistent/token"},
        {"grant": "id_jag", "idp_issuer": "http://idp.example", "id_token_file": "/etc/hostname"},
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


def by_company(server: Server, tmp_path: Path, **more: Any) -> TokenKeeper:
    path = tmp_path / "id-token"
    path.parent.mkdir(exist_ok=True)
    path.write_text("id.token.sig\n")
    settings = {"grant": "id_jag", "client_secret": SECRET, "idp_issuer": server.idp, "id_token_file": str(path)}
    return keeper_of(server, tmp_path, **settings, **more)


async def test_a_companys_identity_provider_opens_the_server(server: Server, tmp_path: Path) -> None:
    """The ID token is exchanged for what is good at this authorization server and for this resource (SEP-990)."""
    keeper = by_company(server, tmp_path, idp_client_id="robot-at-idp", idp_client_secret="other")
    assert await keeper.usable_token() == "token-1"
    resource = f"{server.origin}/mcp"
    assert server.exchanged == [
        {
            "grant_type": TOKEN_EXCHANGE,
            "requested_token_type": ID_JAG,
            "audience": server.issuer,
            "resource": resource,
            "subject_token": "id.token.sig",
            "subject_token_type": ID_TOKEN,
            "scope": "tools",
            "client_id": "robot-at-idp",
            "client_secret": "other",
        }
    ]
    [asked] = server.asked
    assert (asked["grant_type"], asked["assertion"], asked["client_id"]) == (JWT_BEARER, "id.jag.sig", "robot")
    assert "id.token.sig" not in asked.values()
    assert "other" not in asked.values()
    assert await keeper.recover("token-1")
    assert (len(server.exchanged), len(server.asked)) == (2, 2)


@pytest.mark.parametrize(
    ("status", "body", "needs_person"),
    [
        (400, {"error": "invalid_grant"}, True),
        (503, {}, False),
        (200, {"access_token": "an.access.token", "issued_token_type": "urn:ietf:params:oauth:token-type:jwt"}, False),
        (200, {"issued_token_type": ID_JAG}, False),
    ],
)
async def test_what_the_identity_provider_refuses_goes_nowhere(
    server: Server, tmp_path: Path, status: int, body: dict[str, str], needs_person: bool
) -> None:
    """The authorization server is not asked, the words name the provider, and no token is in them."""
    server.idp_answer = (status, body)
    with pytest.raises(McpError, match="identity provider") as caught:
        await by_company(server, tmp_path).usable_token()
    assert caught.value.needs_reauth is needs_person
    assert "id.token" not in repr(caught.value.__dict__)
    assert SECRET not in repr(caught.value.__dict__)
    assert server.asked == []


async def test_an_id_token_goes_to_no_other_provider_and_for_no_other_server(server: Server, tmp_path: Path) -> None:
    """Neither where the MCP server names an issuer that was not meant, nor where the provider calls itself another."""
    with pytest.raises(McpError, match="our credentials do not belong"):
        await by_company(server, tmp_path, issuer=f"{server.origin}/two").usable_token()
    server.idp = f"{server.origin}/idp/"
    with pytest.raises(McpError, match="names another issuer"):
        await by_company(server, tmp_path / "other").usable_token()
    assert server.exchanged == server.asked == []


async def test_credentials_get_a_bound_token_where_the_server_asks_for_it(server: Server, tmp_path: Path) -> None:
    """The key is on disk beside the token, also after a restart, and proves each request."""
    server.scheme = "DPoP"
    keeper = with_secret(server, tmp_path)
    token = await keeper.usable_token()
    shown = await keeper.authorization(token, "POST", f"{server.origin}/mcp")
    assert shown["authorization"] == "DPoP token-1"
    key = jwt.get_unverified_header(server.asked[0]["proof"])["jwk"]
    assert jwt.get_unverified_header(shown["dpop"])["jwk"] == key
    again = with_secret(server, tmp_path)
    shown = await again.authorization(await again.usable_token(), "POST", f"{server.origin}/mcp")
    assert jwt.get_unverified_header(shown["dpop"])["jwk"] == key
    assert len(server.asked) == 1


async def test_a_token_bound_to_somebody_elses_key_is_not_taken(server: Server, tmp_path: Path) -> None:
    """An answer of type DPoP to a request without a proof is of no use."""
    server.scheme = "DPoP"
    keeper = with_secret(server, tmp_path, dpop="never")
    with pytest.raises(McpError, match="a key that we have not shown"):
        await keeper.usable_token()


@pytest.mark.parametrize("refusal", ["use_dpop_nonce", "invalid_dpop_proof"])
async def test_a_proof_that_is_not_liked_refuses_no_credentials(server: Server, tmp_path: Path, refusal: str) -> None:
    """A nonce that never comes, a clock that is wrong: asked again after a pause, and no person is called."""
    server.scheme, server.refusal = "DPoP", refusal
    with pytest.raises(McpError) as caught:
        await with_secret(server, tmp_path).usable_token()
    assert (caught.value.kind, caught.value.needs_reauth) == ("down", False)
    assert len(server.asked) == 1

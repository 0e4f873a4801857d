"""Cases 11, 12 and 16: what hostile servers, browsers and names do to a sign-in."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
import trio
from trio.testing import MockClock

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth import ssrf
from hermesd.mcp.oauth.fetch import Fetcher
from hermesd.mcp.oauth.keeper import PAUSE_S
from hermesd.mcp.oauth.login import Surface, login
from hermesd.mcp.oauth.manager import OAuthManager
from hermesd.mcp.oauth.metadata import Tokens
from hermesd.mcp.oauth.settings import OAuthSettings, ServerIdentity
from hermesd.mcp.oauth.ssrf import AddressPolicy, guarded_transport
from hermesd.mcp.oauth.storage import TokenStorage
from tests.servers.hostile import Hostile, hostile_server
from tests.servers.hostile_signed import GOOD, call, signed_in
from tests.servers.mcp_http import free_port
from tests.standing_clock import standing_still

METADATA = "169.254.169.254"


async def sign_in(
    url: str, storage: TokenStorage, visit: Callable[[str], None] = lambda _: None, *, timeout: float = 60
) -> None:
    """A sign-in whose browser is ``visit``, in a thread of its own."""

    def open_url(address: str) -> bool:
        threading.Thread(target=visit, args=(address,), daemon=True).start()
        return True

    settings = OAuthSettings(timeout=timeout)
    await login(ServerIdentity("srv", url), settings, storage, Surface(lambda _: None, open_url))


def asked(address: str) -> dict[str, str]:
    """The parameters of an authorization URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}


def come_back(address: str, **answer: str) -> int:
    """Load the redirect URI with these parameters and the right state, unless given; returns the status."""
    query = asked(address)
    with httpx2.Client(trust_env=False, timeout=60) as client:
        return client.get(query["redirect_uri"], params={"state": query["state"], **answer}).status_code


# -- case 11: where requests go --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "host",
    [METADATA, "0.0.0.0", "[::]", "[fe80::1]", "[::ffff:169.254.169.254]", "2852039166", "0xa9.0xfe.0xa9.0xfe",
     "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::1]", "255.255.255.255", "224.0.0.1"],
)  # fmt: skip
async def test_no_spelling_reaches_a_forbidden_address(host: str) -> None:
    """Link-local, unspecified, multicast: refused before a byte is sent, even where private ones are allowed."""
    policy = AddressPolicy.for_server("http://127.0.0.1/", allow_private=True)
    with pytest.raises(McpError, match="may not be reached"):
        await Fetcher(policy).get(f"http://{host}/latest/meta-data")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "127.1", "0x7f.1", "[::ffff:127.0.0.1]", "10.0.0.1"]
)
async def test_a_global_server_leads_to_no_local_address(host: str, hostile: Hostile) -> None:
    """For a server on the internet, loopback and private addresses are out of reach in all spellings."""
    port = urlsplit(hostile.url).port
    with pytest.raises(McpError, match="may not be reached"):
        await Fetcher(AddressPolicy.for_server("https://mcp.example/")).get(f"http://{host}:{port}/")
    assert hostile.requests == []


async def test_each_redirect_is_checked_again(hostile: Hostile) -> None:
    """A redirect to the metadata address ends there, in our requests and in those of the MCP client itself."""
    hostile.replies["/a"] = (302, {"location": f"https://{METADATA}/latest"}, {})
    policy = AddressPolicy.for_server(hostile.url)
    with pytest.raises(McpError, match="may not be reached"):
        await Fetcher(policy).get(f"{hostile.url}/a")
    hostile.replies["/b"] = (302, {"location": f"http://{METADATA}/latest"}, {})
    transport = guarded_transport(policy)
    async with httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=True) as client:
        with pytest.raises(httpx2.ConnectError, match="may not be reached"):
            await client.get(f"{hostile.url}/b")


async def test_a_name_that_changes_its_answer_gains_nothing(hostile: Hostile) -> None:
    """The name is resolved once, and the connection goes to the address that was checked."""
    answers = [["127.0.0.1"], [METADATA]]

    class FlippingResolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, *_, **__):
            found = answers.pop(0)
            return [(trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

        async def getnameinfo(self, sockaddr, flags):
            raise NotImplementedError

    trio.socket.set_custom_hostname_resolver(FlippingResolver())
    port = urlsplit(hostile.url).port
    policy = AddressPolicy.for_server("http://127.0.0.1/")
    async with httpx2.AsyncClient(transport=guarded_transport(policy), trust_env=False) as client:
        assert (await client.get(f"http://flips.example:{port}/")).status_code == 404
    assert answers == [[METADATA]]
    async with httpx2.AsyncClient(transport=guarded_transport(policy), trust_env=False) as client:
        with pytest.raises(httpx2.ConnectError, match="may not be reached"):
            await client.get(f"http://flips.example:{port}/")


@pytest.mark.parametrize("where", ["challenge", "resource", "server"])
async def test_metadata_that_names_a_forbidden_address_is_not_followed(
    where: str, hostile: Hostile, storage: TokenStorage
) -> None:
    """resource_metadata, authorization_servers and endpoints lead nowhere that is not allowed."""
    url = hostile.protect(**({"registration_endpoint": f"https://{METADATA}/register"} if where == "server" else {}))
    if where == "challenge":
        challenge = f'Bearer resource_metadata="https://{METADATA}/x"'
        hostile.replies["/mcp"] = (401, {"www-authenticate": challenge}, {})
    if where == "resource":
        document = {"resource": url, "authorization_servers": [f"https://{METADATA}"]}
        hostile.replies["/.well-known/oauth-protected-resource/mcp"] = (200, {}, document)
    with pytest.raises(McpError, match="may not be reached"):
        await sign_in(url, storage)


def test_the_guard_is_needed() -> None:
    """The plain kinds, as a table of what the policy builds on."""
    kinds = {text: ssrf.kind_of(address) for text in ("8.8.8.8", "10.1.2.3", "127.9.9.9", METADATA)
             if (address := ssrf.literal(text))}  # fmt: skip
    assert list(kinds.values()) == ["global", "private", "loopback", "forbidden"]


# -- case 12: where a browser goes -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "endpoint",
    ["$(touch /tmp/x)", "file:///etc/passwd", "javascript:alert(1)", "-flag", "--help", "http://mcp.example/authorize",
     "https://a b/", "https://user:pw@mcp.example/", "https://x/\"; touch y", "https://x/`id`", "data:text/html,x", "",
     7, None],
)  # fmt: skip
async def test_only_https_or_loopback_is_opened(endpoint: object, hostile: Hostile, storage: TokenStorage) -> None:
    """An authorization endpoint of any other form never reaches a browser."""
    opened: list[str] = []
    url = hostile.protect(authorization_endpoint=endpoint)
    with pytest.raises(McpError):
        await sign_in(url, storage, opened.append)
    assert opened == []


# -- case 16: answers that are not ours ------------------------------------------------------------------------------
async def test_answers_with_another_state_are_turned_away(hostile: Hostile, storage: TokenStorage) -> None:
    """Missing, wrong, doubled and foreign answers get 400 and change nothing; the right one then still counts."""
    url = hostile.protect()
    hostile.replies["/token"] = (200, {}, {"access_token": "access-1", "token_type": "bearer", "expires_in": 60})
    statuses: list[int] = []

    def visit(address: str) -> None:
        query = asked(address)
        with httpx2.Client(trust_env=False, timeout=60) as client:
            for answer in ("?code=evil", "?code=evil&state=", "?code=evil&state=x", "", "?" + "a=1&" * 5000,
                           f"?code=evil&state={query['state']}&state=x"):  # fmt: skip
                statuses.append(client.get(query["redirect_uri"] + answer).status_code)
            statuses.append(client.get(query["redirect_uri"].replace("/callback", "/other")).status_code)
            statuses.append(client.post(query["redirect_uri"], params={"state": query["state"]}).status_code)
        come_back(address, code="code-1")

    await sign_in(url, storage, visit)
    assert statuses == [400] * 6 + [404] * 2
    (form,) = hostile.asked("/token")
    assert form["code"] == "code-1"
    assert storage.read_tokens() is not None


async def test_an_answer_counts_once(hostile: Hostile, storage: TokenStorage) -> None:
    """A replayed answer and a second tab find nobody; the code is redeemed once."""
    url = hostile.protect()
    hostile.replies["/token"] = (200, {}, {"access_token": "access-1", "token_type": "Bearer"})
    seen: list[str] = []

    def visit(address: str) -> None:
        seen.append(address)
        come_back(address, code="code-1")

    await sign_in(url, storage, visit)
    with pytest.raises(httpx2.TransportError):
        come_back(seen[0], code="code-2")
    assert len(hostile.asked("/token")) == 1


@pytest.mark.parametrize("iss", [None, "https://evil.example"])
async def test_an_issuer_mix_up_ends_the_sign_in(iss: str | None, hostile: Hostile, storage: TokenStorage) -> None:
    """RFC 9207: an answer from another issuer, or without one where it is promised, is not redeemed anywhere."""
    url = hostile.protect(authorization_response_iss_parameter_supported=True)
    answer = {"code": "code-1", **({"iss": iss} if iss else {})}
    with pytest.raises(McpError, match="9207"):
        await sign_in(url, storage, lambda address: come_back(address, **answer))  # type: ignore[arg-type]  # its status
    assert hostile.asked("/token") == []


@pytest.mark.parametrize("methods", [None, [], ["plain"], "S256"])
async def test_without_pkce_s256_there_is_no_sign_in(methods: object, hostile: Hostile, storage: TokenStorage) -> None:
    """A server that does not offer S256 is refused before anybody is sent to it."""
    opened: list[str] = []
    with pytest.raises(McpError, match="PKCE"):
        await sign_in(hostile.protect(code_challenge_methods_supported=methods), storage, opened.append)
    assert opened == []


async def test_metadata_of_another_issuer_is_refused(hostile: Hostile, storage: TokenStorage) -> None:
    """RFC 8414 §3.3: the document must be the issuer's own."""
    with pytest.raises(McpError, match="another issuer"):
        await sign_in(hostile.protect(issuer="https://evil.example"), storage)


async def test_metadata_of_another_resource_is_refused(hostile: Hostile, storage: TokenStorage) -> None:
    """RFC 9728 §3.3: tokens are never asked for in the name of another server."""
    url = hostile.protect()
    document = {"resource": "https://victim.example/mcp", "authorization_servers": [hostile.url]}
    hostile.replies["/.well-known/oauth-protected-resource/mcp"] = (200, {}, document)
    with pytest.raises(McpError, match="is about"):
        await sign_in(url, storage)


async def test_a_pasted_address_is_judged_like_a_browsers(hostile: Hostile, storage: TokenStorage) -> None:
    """A line from the terminal must be our redirect URI with our state; then it counts."""
    url = hostile.protect()
    hostile.replies["/token"] = (200, {}, {"access_token": "access-1", "token_type": "Bearer"})
    said: list[str] = []
    reader, writer = os.pipe()

    def paste(address: str) -> bool:
        query = asked(address)
        port = urlsplit(query["redirect_uri"]).port
        wrong = [f"http://127.0.0.1:{(port or 0) - 1}/callback?code=evil&state={query['state']}", "hello", "\x1b[A",
                 f"{query['redirect_uri']}?code=evil&state=x"]  # fmt: skip
        right = f"{query['redirect_uri']}?code=code-1&state={query['state']}"
        os.write(writer, "\n".join([*wrong, right, ""]).encode())
        return False

    try:
        await login(ServerIdentity("srv", url), OAuthSettings(timeout=60), storage, Surface(said.append, paste, reader))
    finally:
        os.close(reader)
        os.close(writer)
    assert sum("That was not it" in text for text in said) == 4
    assert hostile.asked("/token")[0]["code"] == "code-1"


async def test_a_token_goes_to_its_own_server_only(hostile: Hostile, storage: TokenStorage) -> None:
    """A request to another origin through the same client carries no token."""
    url = signed_in(hostile, storage)
    storage.write_tokens(Tokens("access-2", expires_at=time.time() + 60))
    with hostile_server() as other:
        auth = OAuthManager(storage.directory).get_or_build_provider("srv", url, McpServerConfig())
        async with httpx2.AsyncClient(auth=auth, trust_env=False) as client:
            await client.get(f"{other.url}/mcp")
            await client.get(url)
        assert "header:authorization" not in other.asked("/mcp")[0]
    assert hostile.asked("/mcp")[0]["header:authorization"] == "Bearer access-2"


# -- servers that are merely different -------------------------------------------------------------------------------
async def test_a_server_of_the_first_revision_has_default_endpoints(hostile: Hostile, storage: TokenStorage) -> None:
    """No metadata anywhere: /register, /authorize and /token at the server's origin (revision 2025-03-26)."""
    url = hostile.protect()
    del hostile.replies["/.well-known/oauth-protected-resource/mcp"]
    del hostile.replies["/.well-known/oauth-authorization-server"]
    hostile.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer", "refresh_token": "r"})
    seen: list[str] = []

    def visit(address: str) -> None:
        seen.append(address)
        come_back(address, code="code-1")

    await sign_in(url, storage, visit)
    assert seen[0].startswith(f"{hostile.url}/authorize?")
    assert hostile.asked("/token")[0]["resource"] == url
    hostile.replies["/mcp"] = (200, {}, {})
    storage.write_tokens(GOOD)  # the endpoints are found again at a restart
    assert await call(url, storage) == 200
    assert len(hostile.asked("/token")) == 2


async def test_tokens_from_another_machine_are_renewed_where_the_challenge_says(
    hostile: Hostile, storage: TokenStorage
) -> None:
    """Only tokens and registration were copied: the metadata is found as for a sign-in, and never guessed beside it."""
    url = hostile.protect(issuer=f"{hostile.url}/tenant", token_endpoint=f"{hostile.url}/tenant/token")
    replies = hostile.replies
    replies["/.well-known/oauth-authorization-server/tenant"] = replies.pop("/.well-known/oauth-authorization-server")
    del replies["/.well-known/oauth-protected-resource/mcp"]
    document = {"resource": url, "authorization_servers": [f"{hostile.url}/tenant"]}
    replies["/elsewhere"] = (200, {}, document)
    challenge = {"www-authenticate": f'Bearer resource_metadata="{hostile.url}/elsewhere"'}
    replies["/mcp"] = lambda form: (
        (200, {}, {}) if form.get("header:authorization") == "Bearer access-2" else (401, challenge, {})
    )
    replies["/tenant/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer", "expires_in": 60})
    storage.write_tokens(GOOD)
    storage.write_client({"client_id": "client-1"})
    assert await call(url, storage) == 200
    assert hostile.asked("/token") == []
    assert storage.read_meta()["issuer"] == f"{hostile.url}/tenant"


async def test_an_issuer_that_has_moved_its_endpoint_needs_nobody(
    hostile: Hostile, storage: TokenStorage, clock: MockClock
) -> None:
    """What is on disk leads nowhere: after the pause the same issuer is asked where its endpoint is now."""
    url = signed_in(hostile, storage)
    manager = OAuthManager(storage.directory)
    hostile.protect(token_endpoint=f"{hostile.url}/new/token")
    hostile.replies["/mcp"] = lambda form: (
        (200, {}, {}) if form.get("header:authorization") == "Bearer access-2" else (401, {}, {})
    )
    hostile.replies["/new/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer", "expires_in": 60})
    with standing_still(clock):
        with pytest.raises(McpError, match="404"):
            await call(url, storage, manager)
        clock.jump(PAUSE_S[0])
        assert await call(url, storage, manager) == 200
    assert hostile.asked("/new/token")[0]["refresh_token"] == "refresh-1"
    assert storage.read_meta()["token_endpoint"] == f"{hostile.url}/new/token"


async def test_another_issuer_than_the_one_of_the_sign_in_gets_no_token(
    hostile: Hostile, storage: TokenStorage, clock: MockClock
) -> None:
    """The issuer is gone and the server names another: a person is asked for, and the refresh token goes nowhere."""
    url = signed_in(hostile, storage)
    manager = OAuthManager(storage.directory)
    with hostile_server() as other, standing_still(clock):
        other.protect()
        other.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer"})
        document = {"resource": url, "authorization_servers": [other.url]}
        hostile.replies["/.well-known/oauth-protected-resource/mcp"] = (200, {}, document)
        with pytest.raises(McpError, match="404"):
            await call(url, storage, manager)
        clock.jump(PAUSE_S[0])
        for _ in range(5):
            with pytest.raises(McpError, match="another authorization server") as caught:
                await call(url, storage, manager)
            assert caught.value.needs_reauth
        assert other.asked("/token") == []
        assert len(hostile.asked("/.well-known/oauth-protected-resource/mcp")) == 1
    assert storage.read_tokens() == GOOD


async def test_a_broken_metadata_server_does_not_lead_to_a_weaker_source(
    hostile: Hostile, storage: TokenStorage
) -> None:
    """503 is "not now", never "there is none"."""
    url = hostile.protect()
    hostile.replies["/.well-known/oauth-protected-resource/mcp"] = (503, {}, {})
    with pytest.raises(McpError, match="503") as caught:
        await sign_in(url, storage)
    assert caught.value.kind == "down"
    assert hostile.asked("/register") == []


async def test_a_client_document_needs_no_registration(hostile: Hostile, storage: TokenStorage) -> None:
    """Where the server takes client id metadata documents, the configured URL is the client."""
    url = hostile.protect(client_id_metadata_document_supported=True)
    hostile.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer"})
    document = "https://me.example/client.json"
    settings = OAuthSettings(client_id=document, timeout=60)

    def open_url(address: str) -> bool:
        threading.Thread(target=come_back, args=(address,), kwargs={"code": "c"}, daemon=True).start()
        return True

    await login(ServerIdentity("srv", url), settings, storage, Surface(lambda _: None, open_url))
    assert hostile.asked("/token")[0]["client_id"] == document
    assert hostile.asked("/register") == []
    assert not storage.client_path.exists()


async def test_a_refused_registration_says_what_to_do(hostile: Hostile, storage: TokenStorage) -> None:
    """No registration endpoint, or a no from it: the next step is to configure a client."""
    for reply, metadata in (((403, {}, {}), {}), ((201, {}, {}), {"registration_endpoint": None})):
        url = hostile.protect(**metadata)
        hostile.replies["/register"] = reply
        with pytest.raises(McpError) as caught:
            await sign_in(url, storage)
        assert "oauth.client_id" in caught.value.next_step
        assert caught.value.kind == "auth"


async def test_a_redirect_uri_on_this_machine_is_listened_to(hostile: Hostile, storage: TokenStorage) -> None:
    """A client that somebody registered has a fixed address: its port and path are ours; a taken port is named."""
    url = hostile.protect()
    hostile.replies["/token"] = (200, {}, {"access_token": "access-2", "token_type": "Bearer"})

    async def sign_in_at(address: str) -> None:
        settings = OAuthSettings(client_id="client-9", redirect_uri=address, timeout=60)
        surface = Surface(lambda _: None, open_url)
        await login(ServerIdentity("srv", url), settings, storage, surface)

    def open_url(address: str) -> bool:
        threading.Thread(target=come_back, args=(address,), kwargs={"code": "c"}, daemon=True).start()
        return True

    for path in ("/oauth/cb", ""):
        address = f"http://localhost:{free_port()}{path}"
        await sign_in_at(address)
        assert hostile.asked("/token")[-1]["redirect_uri"] == address
    taken = urlsplit(hostile.url).port
    with pytest.raises(McpError, match=f"port {taken} is taken") as caught:
        await sign_in_at(f"http://127.0.0.1:{taken}/callback")
    assert caught.value.where == "oauth.redirect_uri"


async def test_a_taken_redirect_port_is_named(hostile: Hostile, storage: TokenStorage) -> None:
    """A configured port is never silently replaced: it is what is registered."""
    url = hostile.protect()
    taken = urlsplit(hostile.url).port or 0
    settings = OAuthSettings(redirect_port=taken, timeout=60)
    with pytest.raises(McpError, match=f"port {taken} is taken"):
        await login(ServerIdentity("srv", url), settings, storage, Surface(lambda _: None))

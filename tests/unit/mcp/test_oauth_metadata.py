"""Documents and headers from strangers: parsed into types, or into nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermesd.mcp.oauth.challenge import MAX_HEADER_CHARS, Challenge, parse_challenge
from hermesd.mcp.oauth.discovery import (
    Discovered,
    covers,
    from_file,
    resource_metadata_urls,
    same_issuer,
    server_metadata_urls,
)
from hermesd.mcp.oauth.metadata import (
    ResourceMetadata,
    ServerMetadata,
    Tokens,
    resource_metadata_from,
    server_metadata_from,
    tokens_from,
    usable_url,
)
from hermesd.mcp.oauth.registration import Client, client_from, configured_client, stored_client
from hermesd.mcp.oauth.settings import OAuthSettings, ServerIdentity, needs_reauth
from tests.cost import LINEAR, growth

SERVER = {
    "issuer": "https://as.example",
    "authorization_endpoint": "https://as.example/authorize",
    "token_endpoint": "https://as.example/token",
    "code_challenge_methods_supported": ["plain", "S256"],
}
REPEATED = 10
"""How often a header is read, so that its cost can be seen."""
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
)


def server(**more: object):
    found = server_metadata_from({**SERVER, **more})
    assert found is not None
    return found


# -- WWW-Authenticate ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        ("Bearer", Challenge()),
        ("", Challenge()),
        ("Basic realm=x", Challenge()),
        ('Bearer error="invalid_token", scope="a b"', Challenge(error="invalid_token", scope="a b")),
        ("bearer  error=insufficient_scope ,scope=a", Challenge(error="insufficient_scope", scope="a")),
        ('Basic realm="x, Bearer", Bearer scope="a"', Challenge(scope="a")),
        ('Bearer scope="a", Basic scope="b"', Challenge(scope="a")),
        ('Bearer realm="a \\" scope=\\"x", scope="b"', Challenge(scope="b")),
        (
            'Bearer resource_metadata="https://x.example/.well-known/y"',
            Challenge(resource_metadata="https://x.example/.well-known/y"),
        ),
        ('Bearer resource_metadata="file:///etc/passwd"', Challenge()),
        ('Bearer scope="a\tb"', Challenge()),
        ('DPoP algs="ES256", scope="a"', Challenge(scope="a", dpop=True)),
        (
            'Bearer error="insufficient_scope", scope="a", DPoP algs="ES256"',
            Challenge("insufficient_scope", "a", dpop=True),
        ),
        ('Bearer, dpop error="use_dpop_nonce"', Challenge(error="use_dpop_nonce", dpop=True)),
    ],
)
def test_challenges_are_read(header: str, challenge: Challenge) -> None:
    """The parameters of Bearer and DPoP challenges, quoted or not, among others."""
    assert parse_challenge([header]) == challenge


@given(st.lists(st.text(alphabet='Bearer scope=",\\ \ta=', max_size=200), max_size=3))
def test_no_header_makes_parsing_fail(headers: list[str]) -> None:
    """Whatever is sent, a challenge comes back, and nothing in it that was not sent."""
    found = parse_challenge(headers)
    assert isinstance(found, Challenge)
    assert found.scope in "".join(headers).replace("\\", "")


@pytest.mark.parametrize(
    "header",
    [
        lambda size: "Bearer " + 'a="' * (size // 3),
        lambda size: "Bearer " + "a=" * (size // 2),
        lambda size: "a " * (size // 2),
        lambda size: '"' + "\\" * size,
    ],
)
def test_parsing_a_header_takes_linear_time(header: Callable[[int], str]) -> None:
    """Nothing in it makes the expression go back and forth, up to the length that is looked at."""

    def reading(size: int) -> Callable[[], None]:
        text = header(size)

        def work() -> None:
            for _ in range(REPEATED):
                parse_challenge([text])

        return work

    assert growth(reading, MAX_HEADER_CHARS // 8) < LINEAR


# -- URLs ------------------------------------------------------------------------------------------------------------
@given(st.text(max_size=60) | st.builds("https://{}".format, st.text(max_size=40)) | anything)
def test_a_usable_url_is_https_or_loopback(value: object) -> None:
    """Nothing else passes, and nothing that a shell or header would see something in."""
    found = usable_url(value)
    if found:
        parts = urlsplit(found)
        assert parts.scheme == "https" or parts.hostname in ("localhost", "127.0.0.1", "::1")
        assert not set(found) & set(" \r\n\t\"'`\\<>")
        assert not found.startswith("-")


@pytest.mark.parametrize("url", ["http://localhost:8/x", "http://127.0.0.1/x", "http://[::1]:1/x", "https://a.example"])
def test_loopback_may_be_plain(url: str) -> None:
    """For servers under development."""
    assert usable_url(url) == url


@pytest.mark.parametrize(
    ("resource", "url", "expected"),
    [
        ("https://a.example/mcp", "https://a.example/mcp", True),
        ("https://a.example", "https://a.example/mcp", True),
        ("https://a.example/", "https://A.example/mcp", True),
        ("https://a.example/mc", "https://a.example/mcp", False),
        ("https://a.example/mcp/x", "https://a.example/mcp", False),
        ("https://b.example/mcp", "https://a.example/mcp", False),
        ("http://a.example/mcp", "https://a.example/mcp", False),
        ("https://a.example:444/mcp", "https://a.example/mcp", False),
        ("https://[", "https://a.example/mcp", False),
    ],
)
def test_a_resource_covers_itself_and_what_lies_below(resource: str, url: str, expected: bool) -> None:
    """Metadata about anything else is not about this server."""
    assert covers(resource, url) is expected


def test_an_issuer_may_gain_a_slash_and_nothing_else() -> None:
    """Some libraries write https://as.example/ for https://as.example."""
    assert same_issuer("https://as.example", "https://as.example/")
    assert not same_issuer("https://as.example/a", "https://as.example/a/")
    assert not same_issuer("https://as.example", "https://as.example.evil/")


def test_metadata_is_looked_for_in_the_order_of_the_standards() -> None:
    """With the path first, then at the root; three places for an issuer with a path."""
    assert resource_metadata_urls("https://a.example/x/mcp", Challenge(resource_metadata="https://b.example/m")) == [
        "https://b.example/m",
        "https://a.example/.well-known/oauth-protected-resource/x/mcp",
        "https://a.example/.well-known/oauth-protected-resource",
    ]
    assert server_metadata_urls("https://as.example/tenant") == [
        "https://as.example/.well-known/oauth-authorization-server/tenant",
        "https://as.example/.well-known/openid-configuration/tenant",
        "https://as.example/tenant/.well-known/openid-configuration",
    ]
    assert server_metadata_urls("https://as.example")[1] == "https://as.example/.well-known/openid-configuration"


# -- documents -------------------------------------------------------------------------------------------------------
@given(st.dictionaries(st.sampled_from([*SERVER, "resource", "authorization_servers", "client_id", "redirect_uris",
                                        "access_token", "expires_in", "hermesd", "client_secret_expires_at"]),
                       anything | st.sampled_from(list(SERVER.values()))))  # fmt: skip
def test_no_document_makes_parsing_fail(document: dict[str, object]) -> None:
    """Members of any type give a type of ours or None."""
    assert isinstance(server_metadata_from(document), ServerMetadata | None)
    assert isinstance(resource_metadata_from(document), ResourceMetadata | None)
    assert isinstance(client_from(document), Client | None)
    assert isinstance(tokens_from(document, now=0.0), Tokens | None)
    assert isinstance(from_file({**SERVER, **document}, "https://a.example/mcp"), Discovered | None)


def test_metadata_survives_the_file() -> None:
    """What was discovered is what a restart finds, the issuer as it was written."""
    known = Discovered(server(), "https://a.example/mcp", step_up="b")
    found = from_file(json.loads(json.dumps(known.to_file())), "https://a.example/mcp")
    assert found is not None
    assert (found.server, found.resource, found.step_up) == (known.server, known.resource, "b")
    assert from_file(known.to_file(), "https://other.example/mcp") is None


def test_metadata_of_hermes_agent_is_taken() -> None:
    """Its file is the plain RFC 8414 document: the resource is then the server itself."""
    found = from_file(dict(SERVER), "https://A.example/mcp#x")
    assert found is not None
    assert found.resource == "https://a.example/mcp"


@pytest.mark.parametrize(("expires_in", "expected"), [(3600, 970.0), (3, 999.7), ("60", 994.0), (-1, 970.0)])
def test_tokens_are_renewed_a_little_early(expires_in: object, expected: float) -> None:
    """A tenth of their life, 30 s at most."""
    tokens = tokens_from({"access_token": "a", "expires_in": expires_in, "expires_at": 1000}, now=0.0)
    assert tokens is not None
    assert tokens.renew_at() == pytest.approx(expected)


def test_tokens_without_a_life_are_used_until_they_are_refused() -> None:
    """Many servers give none."""
    assert Tokens("a").renew_at() == math.inf


# -- clients ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("client", "offered", "methods"),
    [
        (Client("c", "registered"), [], ["none"]),
        (Client("c", "registered", secret="s"), [], ["client_secret_post", "client_secret_basic"]),
        (Client("c", "registered", secret="s"), ["client_secret_basic"], ["client_secret_basic", "client_secret_post"]),
        (Client("c", "registered", secret="s", method="client_secret_basic"), [], ["client_secret_basic"]),
        (Client("c", "registered", secret="s", method="none"), [], ["none", "client_secret_post"]),
    ],
)
def test_the_way_to_authenticate(client: Client, offered: list[str], methods: list[str]) -> None:
    """The registered one; without one the body first, and the other way as a second try."""
    assert client.methods(server(token_endpoint_auth_methods_supported=offered)) == methods


def test_a_client_document_is_used_where_servers_take_it() -> None:
    """Elsewhere its URL is not presented: a client is registered instead."""
    settings = OAuthSettings(client_id="https://me.example/client.json")
    found = configured_client(settings, server(client_id_metadata_document_supported=True))
    assert found is not None
    assert (found.source, found.methods(server())) == ("document", ["none"])
    assert configured_client(settings, server()) is None
    configured = configured_client(OAuthSettings(client_id="me", client_secret="s"), server())
    assert configured is not None
    assert configured.source == "configured"


def test_a_registration_ends_with_its_secret_and_stays_with_its_issuer() -> None:
    """Expired or somebody else's: there is none."""
    found = {"client_id": "c", "client_secret": "s", "client_secret_expires_at": 1, "issuer": "https://as.example"}
    assert stored_client(found, server()) is None
    assert stored_client({**found, "client_secret_expires_at": 0}, server()) is not None
    assert stored_client({**found, "client_secret_expires_at": 0, "issuer": "https://b.example"}, server()) is None


def test_the_way_out_is_a_command_for_this_profile() -> None:
    """Odd names are quoted: people paste it into a shell."""
    assert needs_reauth(ServerIdentity("srv", "u"), "x").next_step == "run `hermesctl mcp login srv`"
    other = ServerIdentity("a b", "u", profile="coder")
    assert needs_reauth(other, "x").next_step == "run `hermesctl -p coder mcp login 'a b'`"
    assert msgspec.structs.asdict(other)["name"] == "a b"

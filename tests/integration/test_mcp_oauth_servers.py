"""O7: the same sign-in with authorization servers of four libraries: verb, call, expiry, refresh, logout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.servers.daemon import MCP, Daemon
from tests.servers.mcp_auth import sdk_server
from tests.servers.mcp_oauth_npm import Demo, demo_server, mock_server
from tests.servers.oidc import AuthorizationServer, oidc_provider
from tests.servers.person import Signing

pytestmark = pytest.mark.loaded(MCP)

SERVERS = {
    "oidc-provider": (oidc_provider, {}),
    "mcp-python-sdk": (sdk_server, {}),
    "oauth2-mock-server": (mock_server, {"client_id": "ours", "scope": "mcp"}),
}
"""How each is started, and the ``oauth`` settings that it needs: one that registers nobody wants a client_id."""


@pytest.fixture(params=SERVERS)
def issuer(request: pytest.FixtureRequest) -> Iterator[tuple[AuthorizationServer, dict[str, Any]]]:
    start, oauth = SERVERS[request.param]
    with start() as server:
        yield server, oauth


@pytest.fixture
def demo() -> Iterator[Demo]:
    with demo_server() as found:
        yield found


def test_signing_in_calling_refreshing_and_signing_out(
    daemon: Daemon, issuer: tuple[AuthorizationServer, dict[str, Any]]
) -> None:
    """Whoever issues the tokens: one sign-in serves calls beyond the first token's end, and a logout ends it."""
    server, oauth = issuer
    signing = Signing(daemon, server.resource)
    signing.configure(**oauth)
    daemon.start()
    assert signing.state() == "auth"
    done = signing.run("login", "srv")
    assert done.returncode == 0, done.stderr
    assert "signed in to srv; it is ready" in done.stdout
    assert signing.add(1, 2) == "3"
    before = server.counts()["refresh"]
    signing.expire()
    assert signing.add(3, 4) == "7"
    assert server.counts()["refresh"] == before + 1
    revoked = server.counts()["revoked"]
    done = signing.run("logout", "srv")
    assert done.stdout == "signed out of srv; the authorization server has revoked its tokens\n"
    assert server.counts()["revoked"] > revoked
    assert not signing.storage.tokens_path.exists()
    assert signing.state() == "auth"


def test_the_typescript_sdks_demo_server_has_no_refresh_and_forgets_everybody(daemon: Daemon, demo: Demo) -> None:
    """Its tokens cannot be renewed: when it has forgotten them and us, a sign-in registers anew and mends it."""
    signing = Signing(daemon, demo.resource)
    signing.configure()
    daemon.start()
    assert signing.state() == "auth"
    assert "it is ready" in signing.run("login", "srv").stdout
    assert signing.call("greet", name="Ada") == "Hello, Ada!"
    assert signing.tokens.refresh_token is None
    registered = signing.storage.read_client()["client_id"]
    demo.kill()
    demo.start()
    bearer = {"authorization": f"Bearer {signing.tokens.access_token}"}
    refusal = httpx2.post(demo.resource, headers=bearer, json={}, trust_env=False)
    assert (
        refusal.status_code == 500
    )  # what it says of a token that it does not know: nobody can tell that from a fault
    assert "it is ready" in signing.run("login", "srv").stdout
    assert signing.storage.read_client()["client_id"] != registered
    assert signing.call("greet", name="Ada") == "Hello, Ada!"
    done = signing.run("logout", "srv")
    assert "signed out of srv" in done.stdout
    assert signing.state() == "auth"


def test_a_tool_that_wants_more_rights_needs_a_person_and_the_others_go_on(daemon: Daemon) -> None:
    """Only its own call fails, one event says why, and the next sign-in asks for what is held and what is wanted."""
    with oidc_provider() as server:
        signing = Signing(daemon, server.resource)
        signing.configure()
        daemon.start()
        assert "it is ready" in signing.run("login", "srv").stdout
        for _ in range(2):
            found = daemon.call("mcp.call", name="srv", tool="write")
            assert found["needs_reauth"]
            assert "it wants more rights (mcp:write)" in found["text"]
            assert signing.add(1, 2) == "3"
        assert signing.state() == "ready"
        assert "it is ready" in signing.run("reauth", "srv").stdout
        assert signing.call("write") == "written"
        assert signing.add(1, 2) == "3"
        events = [e["data"] for e in daemon.call("events.list")["events"] if e["kind"] == "mcp.needs_reauth"]
        assert len([data for data in events if "more rights" in data["why"]]) == 1

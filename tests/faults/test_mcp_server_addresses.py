"""Case 11, for the requests to the MCP servers themselves: where a server's address, name or redirect may lead."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import trio

from hermesd.config.schema import McpServerConfig
from hermesd.mcp.server import McpServer
from tests.servers.hostile import Hostile

METADATA = "169.254.169.254"
TOO_LONG_S = 120.0


@asynccontextmanager
async def trying(url: str, *, allow_private: bool = False, **headers: str) -> AsyncIterator[McpServer]:
    """A server under its owner that has failed twice, so that it rests and says why."""
    config = McpServerConfig(url=url, allow_private=allow_private, headers=headers, connect_timeout=60)
    rests = trio.Event()

    def changed(server: McpServer, _change: str) -> None:
        if server.state in ("backoff", "auth", "failed"):
            rests.set()

    server = McpServer("default", "s", config, on_change=changed)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        with trio.fail_after(TOO_LONG_S):
            await rests.wait()
        yield server
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def resolving(*answers: str) -> AsyncIterator[list[object]]:
    """Every name has these addresses, one lookup after the other; the last one stays. Yields the names asked for."""
    left, asked = list(answers), list[object]()

    class Resolver(trio.abc.HostnameResolver):
        async def getaddrinfo(self, host, port, *_, **__):
            asked.append(host)
            address = left.pop(0) if len(left) > 1 else left[0]
            return [(trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", (address, port))]

        async def getnameinfo(self, sockaddr, flags):
            raise NotImplementedError

    before = trio.socket.set_custom_hostname_resolver(Resolver())
    try:
        yield asked
    finally:
        trio.socket.set_custom_hostname_resolver(before)


@pytest.mark.parametrize(
    "host", [METADATA, "0.0.0.0", "[::]", "[::ffff:169.254.169.254]", "2852039166", "0xa9.0xfe.0xa9.0xfe"]
)
async def test_no_spelling_of_a_forbidden_address_is_connected_to(host: str) -> None:
    """Cloud metadata and unspecified addresses are refused, also when a setting allows private ones."""
    async with trying(f"http://{host}/mcp", allow_private=True) as server:
        assert "may not be reached" in server.last_error


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1"])
async def test_another_spelling_of_loopback_needs_the_setting(host: str, hostile: Hostile) -> None:
    """Only a URL that plainly names loopback opens it; otherwise the error names the setting, and nothing is sent."""
    port = urlsplit(hostile.url).port
    async with trying(f"http://{host}:{port}/mcp") as server:
        assert "set allow_private: true" in server.last_error
    assert hostile.requests == []
    async with trying(f"http://{host}:{port}/mcp", allow_private=True):
        assert hostile.requests != []


async def test_a_name_with_a_private_address_needs_the_setting(hostile: Hostile) -> None:
    """A public name that leads into the own network is what an attacker would use."""
    port = urlsplit(hostile.url).port
    async with resolving("127.0.0.1"), trying(f"http://mcp.example:{port}/mcp") as server:
        assert "may not be reached" in server.last_error
    assert hostile.requests == []


async def test_a_name_that_changes_its_answer_is_judged_at_each_connection(hostile: Hostile) -> None:
    """The first lookup is fine, the next one is not: the connection goes to what was checked, and the second fails."""
    hostile.replies["/mcp"] = (500, {"connection": "close"}, {})
    port = urlsplit(hostile.url).port
    async with resolving("127.0.0.1", METADATA) as asked:
        async with trying(f"http://mcp.example:{port}/mcp", allow_private=True) as server:
            assert "may not be reached" in server.last_error
        assert len(asked) == 2
    assert len(hostile.requests) == 1


@pytest.mark.parametrize("target", [f"http://{METADATA}/latest", "https://elsewhere.example/mcp", "http://[::1]:1/"])
@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_to_another_origin_is_not_followed(status: int, target: str, hostile: Hostile) -> None:
    """It would carry the configured headers there; the error says where it leads, so a person can decide."""
    hostile.replies["/mcp"] = (status, {"location": target}, {})
    async with trying(f"{hostile.url}/mcp", authorization="Bearer secret") as server:
        assert f"redirects to {target}" in server.last_error
        assert "secret" not in server.last_error
    assert {path for _, path, _ in hostile.requests} == {"/mcp"}


@pytest.mark.parametrize(("status", "arrives"), [(307, True), (308, True), (301, False), (303, False)])
async def test_a_redirect_within_the_origin_keeps_the_request(status: int, arrives: bool, hostile: Hostile) -> None:
    """A missing slash costs nothing; a redirect that would make a GET of the call is an error instead."""
    hostile.replies["/mcp"] = (status, {"location": "/mcp/"}, {})
    hostile.replies["/mcp/"] = (418, {}, {})
    async with trying(f"{hostile.url}/mcp", authorization="Bearer ours") as server:
        assert ("HTTP 418" in server.last_error) is arrives
    assert all(form["header:authorization"] == "Bearer ours" for form in hostile.asked("/mcp/"))
    assert bool(hostile.asked("/mcp/")) is arrives


async def test_proxies_of_the_environment_are_not_used(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy the address could not be checked."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with trying(f"{hostile.url}/mcp"):
        assert hostile.requests != []

"""What a sign-in makes of answers: an issuer spelt otherwise, a challenge behind an open door, rights refused again."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.authorization import AuthorizationRequest
from hermesd.mcp.oauth.discovery import Discovered, from_file
from hermesd.mcp.oauth.fetch import Fetcher
from hermesd.mcp.oauth.keeper import TokenKeeper
from hermesd.mcp.oauth.metadata import Tokens, server_metadata_from
from hermesd.mcp.oauth.settings import OAuthSettings, ServerIdentity
from hermesd.mcp.oauth.ssrf import AddressPolicy
from hermesd.mcp.oauth.storage import TokenStorage

ISSUER = "https://as.example"


@pytest.mark.parametrize("iss", [f"{ISSUER}/", "https://AS.example", f"{ISSUER}:443", "https://other.example"])
def test_another_spelling_of_the_issuer_is_another_issuer(iss: str) -> None:
    """RFC 9207 section 2.4: simple string comparison, unlike where a library has added a slash to metadata."""
    request = AuthorizationRequest("", "http://127.0.0.1:1/callback", "state", "verifier", ISSUER, iss_required=False)
    with pytest.raises(McpError, match="another authorization server"):
        request.code_from(f"code=c&state=state&iss={iss}")
    assert request.code_from(f"code=c&state=state&iss={ISSUER}") == "c"


def keeper(tmp_path: Path, scope: str) -> TokenKeeper:
    server = ServerIdentity("srv", "http://127.0.0.1:1/mcp")
    storage = TokenStorage(tmp_path / "mcp-tokens", "srv")
    storage.write_tokens(Tokens(access_token="a", scope=scope))
    found = TokenKeeper(server, OAuthSettings(), storage, Fetcher(AddressPolicy.for_server(server.url)))
    found.reload_if_changed()
    return found


async def test_nobody_is_sent_into_a_sign_in_for_rights_that_were_granted(tmp_path: Path) -> None:
    """A server that goes on refusing what it has granted would otherwise ask for one sign-in after the other."""
    held = keeper(tmp_path, "read write")
    again = await held.want_scope("write")
    assert not again.needs_reauth
    assert "refuses what it has granted" in again.what
    assert (await held.want_scope("write admin")).needs_reauth
    assert (await held.want_scope("")).needs_reauth


async def test_what_several_tools_want_is_asked_for_in_one_sign_in(tmp_path: Path) -> None:
    """The second refusal adds to the first; what is too much in sum gives way to the last."""
    held = keeper(tmp_path, "read")
    server = server_metadata_from(
        {"issuer": ISSUER, **dict.fromkeys(("authorization_endpoint", "token_endpoint"), ISSUER)}
    )
    assert server is not None
    held.storage.write_meta(Discovered(server, held.server.url).to_file())
    for scope in ("write", "admin write", "write"):
        assert (await held.want_scope(scope)).needs_reauth
    known = from_file(held.storage.read_meta(), held.server.url)
    assert known is not None
    assert known.step_up == "write admin"
    await held.want_scope("x" * 1020)
    known = from_file(held.storage.read_meta(), held.server.url)
    assert known is not None
    assert known.step_up == "x" * 1020


class Door(BaseHTTPRequestHandler):
    """Lets everybody introduce themselves, in one of the two eras, and wants a token for the list of tools."""

    seen: list[tuple[str, str, str]]
    modern = False

    def do_POST(self) -> None:
        message: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.note(message["method"])
        if message["method"] == "tools/list":
            assert self.modern == ("_meta" in message.get("params", {}))
            self.answer(401, {"www-authenticate": 'Bearer scope="mcp:basic"'})
        elif self.modern:
            self.answer(400, {})
        else:
            self.answer(200 if "id" in message else 202, {"mcp-session-id": "s-1"})

    def do_DELETE(self) -> None:
        self.note("DELETE")
        self.answer(200, {})

    def note(self, what: str) -> None:
        self.seen.append((what, self.headers.get("mcp-session-id", ""), self.headers.get("mcp-protocol-version", "")))

    def answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "content-length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def door() -> Iterator[tuple[type[Door], str]]:
    handler = type("OwnDoor", (Door,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield handler, f"http://127.0.0.1:{server.server_port}/mcp"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("modern", [False, True])
async def test_the_scope_of_a_server_that_lets_everybody_introduce_themselves_is_found(
    door: tuple[type[Door], str], modern: bool
) -> None:
    """The challenge is the one of the first request that is refused; a session begun for that is given back."""
    handler, url = door
    handler.modern = modern
    answer = await Fetcher(AddressPolicy.for_server(url)).probe(url)
    assert answer.challenges == ('Bearer scope="mcp:basic"',)
    if modern:
        assert handler.seen == [("initialize", "", ""), ("tools/list", "", "2026-07-28")]
        return
    assert handler.seen == [
        ("initialize", "", ""),
        *((what, "s-1", "2025-11-25") for what in ("notifications/initialized", "tools/list", "DELETE")),
    ]

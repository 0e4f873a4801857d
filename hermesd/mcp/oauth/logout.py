"""Signing out: the authorization server is told (RFC 7009), then the tokens are deleted, whatever it says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.discovery import from_file
from hermesd.mcp.oauth.fetch import Fetcher
from hermesd.mcp.oauth.grant import authenticated
from hermesd.mcp.oauth.registration import configured_client, stored_client
from hermesd.mcp.oauth.ssrf import AddressPolicy

if TYPE_CHECKING:
    from hermesd.mcp.oauth.discovery import Discovered
    from hermesd.mcp.oauth.registration import Client
    from hermesd.mcp.oauth.settings import OAuthSettings
    from hermesd.mcp.oauth.storage import TokenStorage

REVOKE_S = 5.0


class LogoutResult(msgspec.Struct, frozen=True):
    """``removed``: whether there were tokens. ``revoked``: whether the server has them revoked; if not, ``why``."""

    removed: bool
    revoked: bool = False
    why: str = ""


async def logout(url: str, settings: OAuthSettings, storage: TokenStorage) -> LogoutResult:
    """Revoke within REVOKE_S, delete in any case. Raises McpError (down) when another process holds the tokens."""
    if not storage.directory.is_dir():
        return LogoutResult(removed=False)
    why = f"the authorization server did not answer within {REVOKE_S:g} s"
    async with storage.lock():  # no renewal comes in between
        if storage.stamp() is None:
            return LogoutResult(removed=storage.remove_tokens())
        try:
            with trio.move_on_after(REVOKE_S):
                why = await _revoke(url, settings, storage)
        except McpError as error:
            why = error.what
        finally:
            removed = storage.remove_tokens()
    return LogoutResult(removed=removed, revoked=not why, why=why)


async def _revoke(url: str, settings: OAuthSettings, storage: TokenStorage) -> str:
    """Present both tokens at the revocation endpoint; why that was not possible, else "". Raises McpError."""
    tokens, at = storage.read_tokens(), from_file(storage.read_meta(), url)
    if tokens is None or at is None or not at.server.revocation_endpoint:
        return "the authorization server offers no revocation"
    client = configured_client(settings, at.server) or stored_client(storage.read_client(), at.server)
    if client is None:
        return "its client registration is gone"
    policy = AddressPolicy.for_server(url, allow_private=settings.allow_private)
    fetcher = Fetcher(policy, verify=settings.verify)
    found = [("refresh_token", tokens.refresh_token)] if tokens.refresh_token else []
    if not tokens.expires_at or time.time() < tokens.expires_at:
        found.append(("access_token", tokens.access_token))
    for kind, token in found:
        if why := await _revoke_one(fetcher, at, client, {"token": token or "", "token_type_hint": kind}):
            return why
    return ""


async def _revoke_one(fetcher: Fetcher, at: Discovered, client: Client, form: dict[str, str]) -> str:
    """One request (RFC 7009 §2.1); any 200 means that the token is good for nothing from now on."""
    status, code = 0, ""
    for method in client.methods(at.server):
        answer = await fetcher.post_form(at.server.revocation_endpoint, *authenticated(client, method, form))
        status, code = answer.status, answer.error
        if code != "invalid_client":
            break
    return "" if status == 200 else f"the authorization server answered {status} {code}".rstrip()

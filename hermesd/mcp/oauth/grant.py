"""Requests at the token endpoint: a code or a refresh token in, tokens out (OAuth 2.1, RFC 6749 §5, RFC 8707)."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlsplit

import msgspec

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.metadata import Tokens, tokens_from

if TYPE_CHECKING:
    from hermesd.mcp.oauth.discovery import Discovered
    from hermesd.mcp.oauth.fetch import Answer, Fetcher
    from hermesd.mcp.oauth.registration import Client


_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down"})


class RefusedError(Exception):
    """The authorization server said no, and asking again will not help. ``code`` as in RFC 6749 §5.2."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def refresh(fetcher: Fetcher, at: Discovered, client: Client, old: Tokens) -> Tokens:
    """New tokens for the old ones; what the answer leaves out stays as it was (RFC 6749 §6).

    Raises RefusedError, McpError (down, timeout).
    """
    form = {"grant_type": "refresh_token", "refresh_token": old.refresh_token or "", "resource": at.resource}
    new = await request_tokens(fetcher, at, client, form)
    return msgspec.structs.replace(
        new, refresh_token=new.refresh_token or old.refresh_token, scope=new.scope or old.scope
    )


async def redeem(
    fetcher: Fetcher, at: Discovered, client: Client, *, code: str, verifier: str, redirect_uri: str
) -> Tokens:
    """Tokens for an authorization code with its PKCE verifier (RFC 7636 §4.5). Raises as ``refresh`` does."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": redirect_uri,
        "resource": at.resource,
    }
    return await request_tokens(fetcher, at, client, form)


async def request_tokens(fetcher: Fetcher, at: Discovered, client: Client, form: dict[str, str]) -> Tokens:
    """Tokens for a form of any grant, with the client's credentials added to it. Raises as ``refresh`` does."""
    methods = client.methods(at.server)
    for method in methods:
        fields, headers = authenticated(client, method, form)
        answer = await fetcher.post_form(at.server.token_endpoint, fields, headers)
        if answer.error == "invalid_client" and method != methods[-1]:
            continue
        return _tokens(answer, at.server.token_endpoint)
    raise AssertionError("there is always a method")


def authenticated(client: Client, method: str, form: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The form and headers with the client's credentials (RFC 6749 §2.3.1)."""
    fields = {**form, "client_id": client.client_id}
    if method == "client_secret_post":
        return {**fields, "client_secret": client.secret}, {}
    if method == "client_secret_basic":
        pair = f"{quote_plus(client.client_id)}:{quote_plus(client.secret)}"
        return fields, {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return fields, {}


def _tokens(answer: Answer, endpoint: str) -> Tokens:
    """Sort an answer into tokens, no, and not now. Error descriptions are not repeated: they may quote secrets."""
    host = urlsplit(endpoint).netloc
    if answer.status in (200, 201) and not answer.error:
        found = {name: value for name, value in answer.body.items() if name != "expires_at"}
        tokens = tokens_from(found, now=time.time())
        if tokens is not None:
            return tokens
        raise McpError("the token endpoint's answer holds no bearer token", kind="protocol", where=host)
    if answer.error and answer.error not in _PASSING and answer.status < 500 and answer.status != 429:
        raise RefusedError(answer.error)
    if answer.status == 401:
        raise RefusedError("invalid_client")
    raise McpError(f"the token endpoint answered {answer.status}", kind="down", where=host)

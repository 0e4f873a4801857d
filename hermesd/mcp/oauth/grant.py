"""Requests at the token endpoint: a code or a refresh token in, tokens out (OAuth 2.1, RFC 6749 §5, RFC 8707)."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING
from urllib.parse import quote_plus, urlsplit

import msgspec

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.dpop import USE_NONCE
from hermesd.mcp.oauth.metadata import Tokens, tokens_from

if TYPE_CHECKING:
    from hermesd.mcp.oauth.discovery import Discovered
    from hermesd.mcp.oauth.dpop import ProofKey
    from hermesd.mcp.oauth.fetch import Answer, Fetcher
    from hermesd.mcp.oauth.metadata import ServerMetadata
    from hermesd.mcp.oauth.registration import Client


# A proof that was not liked (a clock, a nonce) says nothing of the grant that came with it.
_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down", USE_NONCE, "invalid_dpop_proof"})


class RefusedError(Exception):
    """The authorization server said no, and asking again will not help. ``code`` as in RFC 6749 §5.2."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def refresh(fetcher: Fetcher, at: Discovered, client: Client, old: Tokens, key: ProofKey | None = None) -> Tokens:
    """New tokens for the old ones; what the answer leaves out stays as it was (RFC 6749 §6).

    ``key``: what the old ones are bound to. Raises RefusedError, McpError (down, timeout).
    """
    form = {"grant_type": "refresh_token", "refresh_token": old.refresh_token or "", "resource": at.resource}
    new = await request_tokens(fetcher, at, client, form, key)
    return msgspec.structs.replace(
        new, refresh_token=new.refresh_token or old.refresh_token, scope=new.scope or old.scope
    )


async def redeem(
    fetcher: Fetcher,
    at: Discovered,
    client: Client,
    *,
    code: str,
    verifier: str,
    redirect_uri: str,
    key: ProofKey | None = None,
) -> Tokens:
    """Tokens for an authorization code with its PKCE verifier (RFC 7636 §4.5). Raises as ``refresh`` does."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": verifier,
        "redirect_uri": redirect_uri,
        "resource": at.resource,
    }
    return await request_tokens(fetcher, at, client, form, key)


async def request_tokens(
    fetcher: Fetcher, at: Discovered, client: Client, form: dict[str, str], key: ProofKey | None = None
) -> Tokens:
    """Tokens for a form of any grant, with the client's credentials added to it. Raises as ``refresh`` does.

    With ``key`` they are to be bound to it (RFC 9449 §5); their type says whether the server did that.
    """
    answer = await post_as(fetcher, at.server, client, form, key)
    tokens = _tokens(answer, at.server.token_endpoint)
    if key is None and tokens.is_bound:
        host = urlsplit(at.server.token_endpoint).netloc
        raise McpError("the token endpoint bound a token to a key that we have not shown", kind="protocol", where=host)
    return tokens


async def post_as(
    fetcher: Fetcher, server: ServerMetadata, client: Client, form: dict[str, str], key: ProofKey | None = None
) -> Answer:
    """The answer of a token endpoint, by the first of the client's ways to authenticate that it takes.

    Raises McpError (down, timeout).
    """
    endpoint, methods = server.token_endpoint, client.methods(server)
    for method in methods:
        fields, headers = authenticated(client, method, form)
        answer = await _post(fetcher, endpoint, fields, headers, key)
        if answer.error != "invalid_client" or method == methods[-1]:
            return answer
    raise AssertionError("there is always a method")


async def _post(
    fetcher: Fetcher, endpoint: str, fields: dict[str, str], headers: dict[str, str], key: ProofKey | None
) -> Answer:
    """One request; with ``key`` with a proof, and once more where the server wants a nonce of its own in it."""
    if key is None:
        return await fetcher.post_form(endpoint, fields, headers)
    answer = await fetcher.post_form(endpoint, fields, {**headers, "dpop": key.proof("POST", endpoint)})
    if key.note_nonce(endpoint, answer.dpop_nonce) and answer.error == USE_NONCE:
        answer = await fetcher.post_form(endpoint, fields, {**headers, "dpop": key.proof("POST", endpoint)})
        key.note_nonce(endpoint, answer.dpop_nonce)
    return answer


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
        raise McpError("the token endpoint's answer holds no token of a type we know", kind="protocol", where=host)
    if answer.error and answer.error not in _PASSING and answer.status < 500 and answer.status != 429:
        raise RefusedError(answer.error)
    if answer.status == 401:
        raise RefusedError("401")  # not in OAuth's words, perhaps from a gateway: no reason to forget who we are there
    raise McpError(f"the token endpoint answered {answer.status}", kind="down", where=host)

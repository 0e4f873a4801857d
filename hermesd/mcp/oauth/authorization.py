"""One authorization request: its state, verifier and issuer, which belong together, and the judgement of its answer."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.metadata import usable_url, visible

if TYPE_CHECKING:
    from hermesd.mcp.oauth.discovery import Discovered
    from hermesd.mcp.oauth.dpop import ProofKey
    from hermesd.mcp.oauth.registration import Client

MAX_ANSWER_CHARS = 16 * 1024


class NotOursError(Exception):
    """An answer that belongs to no request of ours (state missing, wrong or used): it is turned away, no more."""


class AuthorizationRequest(msgspec.Struct, frozen=True):
    """What was asked (RFC 6749 §4.1.1, RFC 7636, RFC 8707). ``url`` is https or loopback http, nothing else."""

    url: str
    redirect_uri: str
    state: str
    verifier: str
    issuer: str
    iss_required: bool

    def code_from(self, query: str) -> str:
        """The code in an answer (RFC 6749 §4.1.2, RFC 9207 §2.4).

        Raises NotOursError, or McpError(auth) when the answer is for this request and it is a no.
        """
        if len(query) > MAX_ANSWER_CHARS:
            raise NotOursError("too long")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=32)
        except ValueError:
            raise NotOursError("not a query") from None
        answer = dict(pairs)
        if len(answer) != len(pairs):
            raise NotOursError("a parameter is given twice")
        if not secrets.compare_digest(answer.get("state", "").encode(), self.state.encode()):
            raise NotOursError("the state is missing or not the one of this sign-in")
        self._check_issuer(answer.get("iss"))
        if "error" in answer:
            code = visible(answer["error"], 64).replace("_", " ")
            raise _refused(f"the authorization server answered: {code or 'error'}")
        if not (code := visible(answer.get("code"), 8192)):
            raise _refused("the authorization server's answer holds no code")
        return code

    def code_from_url(self, text: str) -> str:
        """The code in a pasted redirect URL, or in its query alone. Raises as ``code_from`` does."""
        text = text.strip()
        if "://" not in text:
            return self.code_from(text.lstrip("?"))
        try:
            found, wanted = urlsplit(text), urlsplit(self.redirect_uri)
        except ValueError:
            raise NotOursError("not a URL") from None
        if (found.scheme, found.netloc, found.path) != (wanted.scheme, wanted.netloc, wanted.path):
            raise NotOursError(f"that is not the address beginning with {self.redirect_uri}")
        return self.code_from(found.query)

    def _check_issuer(self, iss: str | None) -> None:
        if iss is None and self.iss_required:
            raise _refused("the answer does not say which authorization server it is from (RFC 9207)")
        if iss is not None and iss != self.issuer:  # "simple string comparison", RFC 9207 §2.4
            raise _refused("the answer is from another authorization server than the one asked (RFC 9207)")


def build_request(
    at: Discovered, client: Client, *, redirect_uri: str, scope: str, key: ProofKey | None = None
) -> AuthorizationRequest:
    """A new request with a state and verifier of its own; its code is bound to ``key`` (RFC 9449 §10).

    Raises McpError(protocol) where PKCE S256 is not offered.
    """
    server = at.server
    if not server.pkce_s256:
        raise McpError(
            "the authorization server does not offer PKCE with S256, which MCP requires",
            kind="protocol",
            where=server.issuer[:200],
        )
    verifier = secrets.token_urlsafe(64)
    state = secrets.token_urlsafe(32)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": redirect_uri,
        "state": state,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "resource": at.resource,
    }
    if scope:
        query["scope"] = scope
    if key is not None:
        query["dpop_jkt"] = key.thumbprint
    if "offline_access" in scope.split():  # OpenID Connect Core §11
        query["prompt"] = "consent"
    endpoint = usable_url(server.authorization_endpoint)
    if not endpoint:
        raise McpError("its authorization endpoint is not an https URL", kind="protocol", where=server.issuer[:200])
    url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"
    return AuthorizationRequest(url, redirect_uri, state, verifier, server.issuer, server.iss_in_response)


def _refused(what: str) -> McpError:
    return McpError(what, kind="auth", next_step="start the sign-in again")

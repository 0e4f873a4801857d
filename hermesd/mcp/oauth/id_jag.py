"""Enterprise-managed authorization (MCP extension, SEP-990): the company's identity provider decides, no person agrees.

A person's ID token is exchanged at the identity provider (RFC 8693) for an identity assertion that is good at the MCP
server's authorization server only (draft-ietf-oauth-identity-assertion-authz-grant), which gives a token for it
(RFC 7523 §2.1). The ID token goes to the configured identity provider and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.discovery import issuer_metadata
from hermesd.mcp.oauth.grant import post_as
from hermesd.mcp.oauth.metadata import MAX_TOKEN_CHARS, visible
from hermesd.mcp.oauth.registration import Client

if TYPE_CHECKING:
    from hermesd.mcp.oauth.discovery import Discovered
    from hermesd.mcp.oauth.fetch import Fetcher
    from hermesd.mcp.oauth.settings import OAuthSettings

TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant type's name
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105 - a token type's name
ID_JAG = "urn:ietf:params:oauth:token-type:id-jag"


async def exchange(fetcher: Fetcher, settings: OAuthSettings, at: Discovered, *, id_token: str, scope: str) -> str:
    """The assertion for ``at``. Raises McpError (auth: the identity provider says no; protocol, down, timeout)."""
    provider = await issuer_metadata(fetcher, settings.idp_issuer)
    client = Client(settings.idp_client_id or settings.client_id, "configured", secret=settings.idp_client_secret)
    form = {
        "grant_type": TOKEN_EXCHANGE,
        "requested_token_type": ID_JAG,
        "audience": at.server.issuer,
        "resource": at.resource,
        "subject_token": id_token,
        "subject_token_type": ID_TOKEN,
        **({"scope": scope} if scope else {}),
    }
    answer = await post_as(fetcher, provider, client, form)
    where = settings.idp_issuer[:200]
    if answer.status >= 500 or answer.status == 429:
        raise McpError(f"the identity provider answered {answer.status}", kind="down", where=where)
    if answer.status != 200:
        raise McpError(
            f"the identity provider refused the ID token ({answer.status} {answer.error})".replace(" )", ")"),
            kind="auth",
            where=where,
            next_step="renew the token in oauth.id_token_file, or ask who runs the provider",
        )
    assertion = visible(answer.body.get("access_token"), MAX_TOKEN_CHARS)  # RFC 8693 §2.2.1: whatever it is, so named
    if not assertion or answer.body.get("issued_token_type") != ID_JAG:
        raise McpError("the identity provider gave no identity assertion (ID-JAG)", kind="protocol", where=where)
    return assertion

"""Who we are to an authorization server: configured, a client id metadata document, or registered (RFC 7591)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.discovery import same_issuer
from hermesd.mcp.oauth.metadata import MAX_TOKEN_CHARS, Json, ServerMetadata, usable_url, visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.mcp.oauth.fetch import Fetcher
    from hermesd.mcp.oauth.settings import OAuthSettings

Source = Literal["configured", "document", "registered"]

METHODS = ("none", "client_secret_post", "client_secret_basic")


class Client(msgspec.Struct, frozen=True):
    """``method``: the registered token_endpoint_auth_method, "" when none was given. ``raw`` is what is persisted.

    ``issuer``: the server it was registered with, "" in files of others and for configured clients.
    """

    client_id: str
    source: Source
    secret: str = ""
    method: str = ""
    issuer: str = ""
    redirect_uris: tuple[str, ...] = ()
    secret_expires_at: float = 0.0
    raw: dict[str, object] = {}

    def methods(self, server: ServerMetadata) -> list[str]:
        """How to authenticate at the token endpoint, in the order to try.

        A server that hands out a secret without naming a method often takes it only in the body, whatever RFC 7591
        §2 says of the default; the second way is tried when the first is answered ``invalid_client``.
        """
        if not self.secret:
            return ["none"]
        offered = server.token_auth_methods
        if self.method in METHODS:
            first = self.method
        elif "client_secret_post" not in offered and "client_secret_basic" in offered:
            first = "client_secret_basic"
        else:
            first = "client_secret_post"
        others = [] if self.method and self.method != "none" else ["client_secret_post", "client_secret_basic"]
        return [first, *(other for other in others if other != first)][:2]

    def usable_at(self, server: ServerMetadata, *, now: float) -> bool:
        """Whether it may be presented to this server: credentials belong to the issuer that gave them."""
        bound = self.source != "registered" or not self.issuer or same_issuer(self.issuer, server.issuer)
        return bound and (not self.secret_expires_at or now < self.secret_expires_at)

    def may_ask(self, redirect_uri: str, scope: str) -> bool:
        """Whether the registration covers such a request: its redirect URIs, and its scope where it has one."""
        registered = self.raw.get("scope")
        covered = not isinstance(registered, str) or set(scope.split()) <= set(registered.split())
        return covered and redirect_uri in self.redirect_uris


def client_from(found: Mapping[str, object]) -> Client | None:
    """A registration response or file (RFC 7591 §3.2.1); None when it has no usable client_id."""
    client_id = visible(found.get("client_id"), 2048)
    if not client_id:
        return None
    uris = found.get("redirect_uris")
    expires = found.get("client_secret_expires_at")
    return Client(
        client_id=client_id,
        source="document" if found.get("hermesd_source") == "document" else "registered",
        secret=visible(found.get("client_secret"), MAX_TOKEN_CHARS),
        method=visible(found.get("token_endpoint_auth_method"), 64),
        issuer=visible(found.get("issuer"), 2048),
        redirect_uris=tuple(visible(uri, 2048) for uri in uris[:32]) if isinstance(uris, list) else (),
        secret_expires_at=float(expires) if isinstance(expires, int | float) and 0 < expires < 1e11 else 0.0,
        raw=dict(found),
    )


def configured_client(settings: OAuthSettings, server: ServerMetadata) -> Client | None:
    """The client of the configuration. A URL is a metadata document, where the server takes those."""
    if not settings.client_id:
        return None
    if is_document_url(settings.client_id):
        if not (server.client_id_documents or settings.client_secret):
            return None
        if not settings.client_secret:
            return Client(settings.client_id, "document", method="none")
    return Client(settings.client_id, "configured", secret=settings.client_secret)


def is_document_url(client_id: str) -> bool:
    """Whether a client_id is the URL of a client id metadata document: https with a path."""
    return (
        bool(usable_url(client_id)) and client_id.startswith("https://") and urlsplit(client_id).path not in ("", "/")
    )


async def register(
    fetcher: Fetcher, server: ServerMetadata, settings: OAuthSettings, *, redirect_uri: str, scope: str
) -> Client:
    """Register dynamically (RFC 7591 §3.1). Raises McpError."""
    if not server.registration_endpoint:
        raise McpError(
            "the authorization server registers no clients by itself",
            kind="auth",
            where=server.issuer[:200],
            next_step="register one there and set oauth.client_id (and oauth.client_secret in .env)",
        )
    wanted: Json = {
        "client_name": settings.client_name,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": _method_to_ask_for(server),
        "application_type": "native",
    }
    if scope:
        wanted["scope"] = scope
    answer = await fetcher.post_json(server.registration_endpoint, wanted)
    found = {key: value for key, value in answer.body.items() if key not in ("issuer", "hermesd_source")}
    client = client_from(found) if answer.status in (200, 201) else None
    if client is None:
        raise McpError(
            f"the authorization server refused to register a client ({answer.status} {answer.error})".replace(
                " )", ")"
            ),
            kind="down" if answer.status >= 500 or answer.status == 429 else "auth",
            where=server.issuer[:200],
            next_step="register one there and set oauth.client_id",
        )
    raw = {**found, "issuer": server.issuer}
    raw.setdefault("redirect_uris", [redirect_uri])
    return msgspec.structs.replace(client, issuer=server.issuer, raw=raw)


def _method_to_ask_for(server: ServerMetadata) -> str:
    """A native client keeps no secret, so none where that is allowed."""
    offered = server.token_auth_methods
    if not offered or "none" in offered:
        return "none"
    return next((method for method in ("client_secret_post", "client_secret_basic") if method in offered), "none")


def stored_client(found: Mapping[str, object], server: ServerMetadata) -> Client | None:
    """The persisted client, if it may be presented to this server now."""
    client = client_from(found)
    return client if client is not None and client.usable_at(server, now=time.time()) else None

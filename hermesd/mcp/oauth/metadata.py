"""What servers say about themselves and hand out, parsed from untrusted JSON objects into types.

Every text is bounded and free of control characters, so none of it can break a header, a URL or a log line.
URLs that we will request are https, or http on a loopback host. Issuers are kept as they were written: they are
compared as strings (RFC 8414 §3.3, RFC 9207 §2.4).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from hermesd.mcp.oauth.ssrf import is_loopback_host

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TOKEN_CHARS = 32 * 1024
MAX_URL_CHARS = 2048
MAX_LIST = 256
SCHEMES = {"bearer": "Bearer", "dpop": "DPoP"}
"""Token types (RFC 6750, RFC 9449 §5), which are also the schemes of the Authorization header."""

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_SCOPE = re.compile(r"[\x20-\x7e]+")

Json = dict[str, object]


class Tokens(msgspec.Struct, frozen=True):
    """The token file. ``expires_at``: epoch seconds; 0 means that the server gave no life and 401 will tell."""

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the type's name, no token
    expires_in: float | None = None
    scope: str | None = None
    refresh_token: str | None = None
    expires_at: float = 0.0

    def to_file(self) -> dict[str, object]:
        """The members that are known, as hermes-agent names them."""
        found = msgspec.structs.asdict(self)
        return {
            name: value for name, value in found.items() if value is not None and (name, value) != ("expires_at", 0)
        }

    @property
    def is_bound(self) -> bool:
        """Whether each use needs a proof by the key of the sign-in (RFC 9449)."""
        return self.token_type == "DPoP"  # noqa: S105 - the type's name, no token

    def renew_at(self) -> float:
        """Epoch seconds from which the token is not used any more: a tenth of its life early, 30 s at most."""
        if not self.expires_at:
            return math.inf
        return self.expires_at - min(30.0, 0.1 * (self.expires_in or 300.0))


class ServerMetadata(msgspec.Struct, frozen=True):
    """The RFC 8414 (or OpenID Connect discovery) document; ``raw`` is all of it, as it is persisted.

    ``pkce_s256`` is whether code_challenge_methods_supported names S256. ``assumed``: there was no document, the
    endpoints are the defaults of the MCP revision 2025-03-26.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str = ""
    revocation_endpoint: str = ""
    scopes_supported: tuple[str, ...] = ()
    token_auth_methods: tuple[str, ...] = ()
    pkce_s256: bool = False
    iss_in_response: bool = False
    client_id_documents: bool = False
    dpop_algorithms: tuple[str, ...] = ()
    assumed: bool = False
    raw: dict[str, object] = {}


class ResourceMetadata(msgspec.Struct, frozen=True):
    """The RFC 9728 document of a protected resource. ``dpop``: it takes tokens bound to a key by ES256 proofs."""

    resource: str
    authorization_servers: tuple[str, ...]
    scopes_supported: tuple[str, ...] = ()
    dpop: bool = False


def tokens_from(found: Mapping[str, object], *, now: float) -> Tokens | None:
    """Tokens from a file or a token response (RFC 6749 §5.1) received at ``now``; None when they are not usable."""
    access = visible(found.get("access_token"), MAX_TOKEN_CHARS)
    kind = visible(found.get("token_type", "Bearer"), 64)
    scheme = SCHEMES.get(kind.lower())
    if not access or scheme is None:
        return None
    life = _seconds(found.get("expires_in"))
    expires_at = _seconds(found.get("expires_at")) or (now + life if life else 0.0)  # no life at all is none given
    scope = found.get("scope")
    return Tokens(
        access_token=access,
        token_type=scheme,
        expires_in=life,
        scope=scope if isinstance(scope, str) and len(scope) <= 4096 and _SCOPE.fullmatch(scope) else None,
        refresh_token=visible(found.get("refresh_token"), MAX_TOKEN_CHARS) or None,
        expires_at=expires_at,
    )


def server_metadata_from(found: Json) -> ServerMetadata | None:
    """The document as a type; None when what every client needs is missing or not a URL we may use."""
    issuer = visible(found.get("issuer"), MAX_URL_CHARS)
    authorize = usable_url(found.get("authorization_endpoint"))
    token = usable_url(found.get("token_endpoint"))
    if not (issuer and authorize and token):
        return None
    return ServerMetadata(
        issuer=issuer,
        authorization_endpoint=authorize,
        token_endpoint=token,
        registration_endpoint=usable_url(found.get("registration_endpoint")),
        revocation_endpoint=usable_url(found.get("revocation_endpoint")),
        scopes_supported=_names(found.get("scopes_supported")),
        token_auth_methods=_names(found.get("token_endpoint_auth_methods_supported")),
        pkce_s256="S256" in _names(found.get("code_challenge_methods_supported")),
        iss_in_response=found.get("authorization_response_iss_parameter_supported") is True,
        client_id_documents=found.get("client_id_metadata_document_supported") is True,
        dpop_algorithms=_names(found.get("dpop_signing_alg_values_supported")),
        raw=found,
    )


def resource_metadata_from(found: Json) -> ResourceMetadata | None:
    """The document as a type; None when it names no resource. Unusable authorization servers are left out."""
    resource = visible(found.get("resource"), MAX_URL_CHARS)
    if not resource:
        return None
    listed = found.get("authorization_servers")
    servers = [usable_url(entry) for entry in listed[:MAX_LIST]] if isinstance(listed, list) else []
    return ResourceMetadata(
        resource=resource,
        authorization_servers=tuple(filter(None, servers)),
        scopes_supported=_names(found.get("scopes_supported")),
        dpop=found.get("dpop_bound_access_tokens_required") is True
        or "ES256" in _names(found.get("dpop_signing_alg_values_supported")),
    )


def usable_url(value: object) -> str:
    """``value`` if it is an absolute https URL, or an http one on a loopback host; "" otherwise.

    Nothing else may ever reach a browser or our own client: no other scheme, no user information, no fragment.
    """
    text = visible(value, MAX_URL_CHARS)
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return ""
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        return ""
    if any(character in text for character in "\\\"'<>`^{|}"):
        return ""
    if parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(parts.hostname)):
        return text
    return ""


def visible(value: object, max_chars: int) -> str:
    """``value`` if it is a text of visible ASCII characters within the bound; "" otherwise."""
    if isinstance(value, str) and len(value) <= max_chars and _VISIBLE.fullmatch(value):
        return value
    return ""


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(name for entry in value[:MAX_LIST] if (name := visible(entry, 256)))


def _seconds(value: object) -> float | None:
    """A duration or instant; some servers write numbers as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value[:32]) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 1e11 else None

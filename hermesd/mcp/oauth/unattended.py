"""Tokens without a person: the configured credentials are the sign-in (MCP extension "OAuth client credentials").

client_credentials (RFC 6749 §4.4) with a secret or a signed assertion (RFC 7523 §2.2), and jwt_bearer (RFC 7523 §2.1)
with a workload's own token, which whoever runs the machine keeps fresh in a file; id_jag does so with what a company's
identity provider gives for a person's ID token. There is no refresh token: a new
token is asked for in the same way.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import trio

from hermesd.errors import ConfigError
from hermesd.home import read_bounded
from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.binding import proof_key
from hermesd.mcp.oauth.challenge import parse_challenge
from hermesd.mcp.oauth.discovery import Discovered, discover, from_file, same_issuer
from hermesd.mcp.oauth.grant import request_tokens
from hermesd.mcp.oauth.id_jag import exchange
from hermesd.mcp.oauth.metadata import MAX_TOKEN_CHARS, Tokens, usable_url, visible
from hermesd.mcp.oauth.registration import Client

if TYPE_CHECKING:
    from hermesd.mcp.oauth.dpop import ProofKey
    from hermesd.mcp.oauth.fetch import Fetcher
    from hermesd.mcp.oauth.settings import OAuthSettings
    from hermesd.mcp.oauth.storage import TokenStorage

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE_S = 300
MAX_FILE_BYTES = 64 * 1024

_limiter = trio.CapacityLimiter(2)


class Obtained(NamedTuple):
    """Tokens, who gave them, and the key that they are bound to, if any; nothing of it is on disk yet."""

    at: Discovered
    tokens: Tokens
    key: ProofKey | None


async def obtain(fetcher: Fetcher, server_url: str, settings: OAuthSettings, storage: TokenStorage) -> Obtained:
    """A token for the configured credentials. They go only to ``oauth.issuer``, or to the issuer of the first time.

    Raises grant.RefusedError, McpError (auth: the configuration does not suffice; protocol, down, timeout).
    """
    known = from_file(storage.read_meta(), server_url)
    challenge = parse_challenge((await fetcher.probe(server_url)).challenges)
    at = await discover(fetcher, server_url, challenge)
    expected = settings.issuer or (known.server.issuer if known is not None else "")
    if expected and not same_issuer(expected, at.server.issuer):
        raise McpError(
            f"it now names the authorization server {at.server.issuer[:200]!r}, to which our credentials do not belong",
            kind="auth",
            where=server_url[:200],
            next_step="if that is meant, set oauth.issuer to it",
        )
    step_up = known.step_up if known is not None else ""
    names = [*(settings.scope or challenge.scope or " ".join(at.scopes)).split(), *step_up.split()]
    scope = " ".join(dict.fromkeys(names))
    credentials = await _credentials(fetcher, settings, at, scope)
    form = {"resource": at.resource, **({"scope": scope} if scope else {}), **credentials}
    client = Client(settings.client_id, "configured", secret=settings.client_secret)
    key = await proof_key(settings, at, storage)
    tokens = await request_tokens(fetcher, at, client, form, key)
    kept = Tokens(
        access_token=tokens.access_token,
        token_type=tokens.token_type,
        expires_in=tokens.expires_in,
        scope=tokens.scope or scope or None,
        expires_at=tokens.expires_at,
    )
    return Obtained(at, kept, key if kept.is_bound else None)


async def _credentials(fetcher: Fetcher, settings: OAuthSettings, at: Discovered, scope: str) -> dict[str, str]:
    """What of the form says who asks; the secret, if there is one, is added where the request is made."""
    if settings.grant == "jwt_bearer":
        if not settings.assertion_file:
            raise _incomplete("jwt_bearer needs oauth.assertion_file")
        return {"grant_type": JWT_BEARER, "assertion": await _token(settings.assertion_file, "oauth.assertion_file")}
    if settings.grant == "id_jag":
        if not (settings.client_id and settings.id_token_file and usable_url(settings.idp_issuer)):
            raise _incomplete("id_jag needs oauth.client_id, oauth.id_token_file and oauth.idp_issuer (an https URL)")
        id_token = await _token(settings.id_token_file, "oauth.id_token_file")
        assertion = await exchange(fetcher, settings, at, id_token=id_token, scope=scope)
        return {"grant_type": JWT_BEARER, "assertion": assertion}
    if not settings.client_id or not (settings.client_secret or settings.private_key_file):
        raise _incomplete("client_credentials needs oauth.client_id, and oauth.client_secret or oauth.private_key_file")
    form = {"grant_type": "client_credentials"}
    if settings.private_key_file:
        key = await _read(settings.private_key_file, "oauth.private_key_file")
        signed = await trio.to_thread.run_sync(_signed, key, settings.client_id, at.server.issuer, limiter=_limiter)
        form |= {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}
    return form


async def _token(path: str, where: str) -> str:
    text = (await _read(path, where)).decode("ascii", "replace").strip()
    if not visible(text, MAX_TOKEN_CHARS):
        raise _incomplete(f"{path} does not hold a token", where)
    return text


async def _read(path: str, where: str) -> bytes:
    def read() -> bytes:
        return read_bounded(Path(path).expanduser(), max_bytes=MAX_FILE_BYTES)

    try:
        return await trio.to_thread.run_sync(read, limiter=_limiter)
    except (OSError, ConfigError) as error:
        raise _incomplete(f"{path} cannot be read ({type(error).__name__})", where) from None


def _signed(key: bytes, client_id: str, issuer: str) -> str:
    """A client assertion (RFC 7523 §3); the audience is the issuer, as its successor demands. Raises McpError."""
    import jwt
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _incomplete("it holds no PEM private key without a password", "oauth.private_key_file") from None
    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": issuer, "iat": now, "exp": now + ASSERTION_LIFE_S}
    claims["jti"] = secrets.token_urlsafe(16)
    if isinstance(private, rsa.RSAPrivateKey):
        return jwt.encode(claims, private, algorithm="RS256")
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return jwt.encode(claims, private, algorithm="EdDSA")
    if isinstance(private, ec.EllipticCurvePrivateKey) and private.curve.name == "secp256r1":
        return jwt.encode(claims, private, algorithm="ES256")
    raise _incomplete("its key is none of RSA, Ed25519 and P-256", "oauth.private_key_file")


def _incomplete(what: str, where: str = "oauth.grant") -> McpError:
    return McpError(what, kind="auth", where=where, next_step="set it in config.yaml, secrets by ${NAME} from .env")

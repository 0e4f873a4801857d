"""Tokens that are good only together with a key of ours (DPoP, RFC 9449): the key, its proofs, the nonces to put in.

The key of a sign-in lies beside its tokens. A proof names one request and is made anew for each, repeated ones too;
neither key nor proof is ever logged.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import trio

from hermesd.mcp.oauth.metadata import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

ALGORITHM = "ES256"
USE_NONCE = "use_dpop_nonce"
MAX_NONCE_CHARS = 1024
MAX_NONCES = 16

_limiter = trio.CapacityLimiter(2)


class ProofKey:
    """A P-256 key pair, and the last nonce of each origin, which lasts no longer than the process."""

    def __init__(self, private: Any) -> None:  # noqa: ANN401 - an EC key of cryptography, imported at first use only
        self._private = private
        self._public = _public_jwk(private)
        self._nonces: dict[str, str] = {}

    @property
    def thumbprint(self) -> str:
        """What the tokens are bound to: the JWK thumbprint with SHA-256 (RFC 7638)."""
        jwk = self._public  # members in lexical order, without spaces: RFC 7638 section 3.3
        text = f'{{"crv":"{jwk["crv"]}","kty":"{jwk["kty"]}","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
        return _digest(text)

    def to_file(self) -> dict[str, object]:
        """The private key as a JWK (RFC 7518 section 6.2.2)."""
        number = self._private.private_numbers().private_value
        return {**self._public, "d": _base64url(number.to_bytes(32, "big"))}

    def proof(self, method: str, url: str, *, token: str = "") -> str:
        """A proof for one request (RFC 9449 §4.2); with ``token``, the access token that it carries."""
        import jwt

        parts = urlsplit(url)
        claims: dict[str, object] = {
            "jti": secrets.token_urlsafe(16),
            "htm": method,
            "htu": urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")),
            "iat": int(time.time()),
        }
        if token:
            claims["ath"] = _digest(token)
        if nonce := self._nonces.get(_origin(url)):
            claims["nonce"] = nonce
        return jwt.encode(claims, self._private, ALGORITHM, headers={"typ": "dpop+jwt", "jwk": self._public})

    def note_nonce(self, url: str, nonce: object) -> bool:
        """Use what a DPoP-Nonce header said from now on (RFC 9449 §8); whether it said anything."""
        found, origin = visible(nonce, MAX_NONCE_CHARS), _origin(url)
        if found:
            if len(self._nonces) >= MAX_NONCES:
                self._nonces.clear()
            self._nonces[origin] = found
        return bool(found)


async def new_key() -> ProofKey:
    """A new key pair."""
    return await trio.to_thread.run_sync(_generate, limiter=_limiter)  # the first import takes a while


async def key_from(found: Mapping[str, object]) -> ProofKey | None:
    """What ``to_file`` has written; None when it is no private key on P-256."""
    return await trio.to_thread.run_sync(_load, found, limiter=_limiter)


def _generate() -> ProofKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ProofKey(ec.generate_private_key(ec.SECP256R1()))


def _load(found: Mapping[str, object]) -> ProofKey | None:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec

    if found.get("kty") != "EC" or not all(visible(found.get(name), 64) for name in ("crv", "x", "y", "d")):
        return None
    try:
        key = jwt.PyJWK.from_dict({**found, "alg": ALGORITHM}).key
    except (jwt.PyJWTError, ValueError):
        return None
    fits = isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name == "secp256r1"
    return ProofKey(key) if fits else None


def _public_jwk(private: Any) -> dict[str, str]:  # noqa: ANN401 - see ProofKey
    numbers = private.public_key().public_numbers()
    x, y = (_base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y}


def _digest(text: str) -> str:
    return _base64url(hashlib.sha256(text.encode()).digest())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"

"""Keys that tokens are bound to, and proofs by them (RFC 9449), read by another implementation of JWT."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Literal

import jwt
import pytest

from hermesd.mcp.oauth.binding import is_wanted
from hermesd.mcp.oauth.discovery import Discovered
from hermesd.mcp.oauth.dpop import key_from, new_key
from hermesd.mcp.oauth.metadata import server_metadata_from, tokens_from
from hermesd.mcp.oauth.settings import OAuthSettings

RESOURCE = "https://a.example/mcp"
TOKEN = "an.access.token"


def verified(proof: str) -> dict[str, object]:
    """The claims, once the signature fits the public key in the header."""
    header = jwt.get_unverified_header(proof)
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    assert set(header["jwk"]) == {"kty", "crv", "x", "y"}
    found: dict[str, object] = jwt.decode(proof, jwt.PyJWK(header["jwk"]).key, algorithms=["ES256"])
    return found


def digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


async def test_a_proof_names_the_request_the_token_and_the_time() -> None:
    """RFC 9449 section 4.2: the address without its query, and the token by its digest only."""
    proof = (await new_key()).proof("POST", f"{RESOURCE}?a=b#c", token=TOKEN)
    claims = verified(proof)
    assert abs(int(str(claims.pop("iat"))) - time.time()) < 10
    assert len(str(claims.pop("jti"))) >= 16
    assert claims == {"htm": "POST", "htu": RESOURCE, "ath": digest(TOKEN.encode())}


async def test_a_request_for_tokens_is_proven_without_one_and_no_proof_is_like_another() -> None:
    """There is no token yet to name; even for the same request each proof has an identifier of its own."""
    key = await new_key()
    proofs = [verified(key.proof("POST", RESOURCE)) for _ in range(20)]
    assert len({each["jti"] for each in proofs}) == 20
    assert all("ath" not in each and "nonce" not in each for each in proofs)


async def test_a_nonce_goes_to_the_server_that_gave_it() -> None:
    """The last one counts; what is no header value is passed over (RFC 9449 section 8.2)."""
    key = await new_key()
    assert key.note_nonce(RESOURCE, "one")
    assert key.note_nonce(f"{RESOURCE}/other", "two")
    assert not key.note_nonce(RESOURCE, None)
    assert not key.note_nonce(RESOURCE, "with space")
    assert not key.note_nonce(RESOURCE, "n" * 2000)
    assert verified(key.proof("GET", RESOURCE))["nonce"] == "two"
    assert "nonce" not in verified(key.proof("GET", "https://b.example/mcp"))
    for number in range(100):
        key.note_nonce(f"https://{number}.example", "n")
    assert verified(key.proof("GET", "https://99.example/x"))["nonce"] == "n"


async def test_a_key_is_the_same_after_it_was_on_disk() -> None:
    """The file is a JWK; its thumbprint is that of RFC 7638."""
    key = await new_key()
    found = json.loads(json.dumps(key.to_file()))
    again = await key_from(found)
    assert again is not None
    assert again.thumbprint == key.thumbprint
    canonical = json.dumps({name: found[name] for name in ("crv", "kty", "x", "y")}, separators=(",", ":"))
    assert key.thumbprint == digest(canonical.encode())
    assert jwt.get_unverified_header(again.proof("GET", RESOURCE))["jwk"]["x"] == found["x"]


async def test_what_is_no_private_key_is_none() -> None:
    """A damaged file, a public key, another curve or kind: a person signs in again."""
    found = (await new_key()).to_file()
    public = {name: value for name, value in found.items() if name != "d"}
    for damaged in (
        {},
        public,
        {**found, "crv": "P-384"},
        {**found, "kty": "RSA"},
        {**found, "x": 5},
        {**found, "d": "="},
    ):
        assert await key_from(damaged) is None
    assert await key_from({**found, "y": found["x"]}) is None


@pytest.mark.parametrize(
    ("announced", "asks", "setting", "bound"),
    [
        (["ES256"], False, "auto", False),
        (["ES256"], True, "auto", True),
        (None, True, "auto", True),
        (["EdDSA"], True, "auto", False),
        (["ES256"], False, "always", True),
        (["ES256"], True, "never", False),
    ],
)
def test_the_server_or_the_configuration_decides(
    announced: list[str] | None, asks: bool, setting: Literal["auto", "always", "never"], bound: bool
) -> None:
    """Not the authorization server: many announce DPoP for resources that take bearer tokens only."""
    raw: dict[str, object] = {
        "issuer": "https://a.example",
        "authorization_endpoint": "https://a.example/a",
        "token_endpoint": "https://a.example/t",
    }
    server = server_metadata_from(raw | ({"dpop_signing_alg_values_supported": announced} if announced else {}))
    assert server is not None
    assert is_wanted(OAuthSettings(dpop=setting), Discovered(server, RESOURCE, dpop=asks)) is bound


def test_tokens_are_of_a_type_that_we_can_present() -> None:
    """The type is written in any case (RFC 6749 section 5.1); others are not usable."""
    kinds = {"bearer": "Bearer", "BEARER": "Bearer", "dpop": "DPoP", "DPoP": "DPoP", "mac": None, "N_A": None}
    for given, kept in kinds.items():
        tokens = tokens_from({"access_token": TOKEN, "token_type": given}, now=0)
        assert (tokens.token_type if tokens else None) == kept

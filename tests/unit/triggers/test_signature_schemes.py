"""Slack, Stripe, bearer tokens and headers of a route's own; the senders' own libraries make what they can."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from slack_sdk.signature import Clock, SignatureVerifier
from stripe import WebhookSignature

from hermesd.triggers.signatures import TOLERANCE_S, verify
from hermesd.web.message import Headers

NOW = 1_800_000_000
SECRET = "a long and quiet secret"
BODY = b'{"id":"evt_1"}'


def slack(at: int = NOW, secret: str = SECRET, body: bytes = BODY) -> Headers:
    """What Slack's own library makes of it."""
    signature = SignatureVerifier(secret, Clock()).generate_signature(timestamp=str(at), body=body)
    assert signature is not None
    return Headers([("x-slack-signature", signature), ("x-slack-request-timestamp", str(at))])


def stripe(at: int = NOW, secret: str = SECRET, body: bytes = BODY, *, before: str = "") -> Headers:
    """What Stripe's own library makes of it."""
    digest = WebhookSignature._compute_signature(f"{at}.{body.decode()}", secret)
    return Headers([("stripe-signature", f"t={at},{before}v1={digest}")])


@pytest.mark.parametrize("scheme", ["slack", "stripe"])
@pytest.mark.parametrize("named", [True, False])
def test_what_the_senders_library_signs_is_valid(scheme: str, *, named: bool) -> None:
    """With the scheme named, and with it recognized by its fields."""
    made = slack() if scheme == "slack" else stripe(before="v1=00,v0=00,")
    verdict = verify(made, BODY, SECRET, now=NOW, scheme=scheme if named else "auto")
    assert (verdict.valid, verdict.scheme, verdict.timestamp) == (True, scheme, str(NOW))


@pytest.mark.parametrize("make", [slack, stripe])
def test_another_secret_body_or_time_is_refused(make: object) -> None:
    """A signature says who, what and when."""
    assert callable(make)
    assert not verify(make(secret="other"), BODY, SECRET, now=NOW).valid
    assert not verify(make(), BODY + b" ", SECRET, now=NOW).valid
    for distance in (TOLERANCE_S + 1, -TOLERANCE_S - 1):
        assert not verify(make(), BODY, SECRET, now=NOW + distance).valid
    for distance in (TOLERANCE_S, -TOLERANCE_S):
        assert verify(make(), BODY, SECRET, now=NOW + distance).valid


@pytest.mark.parametrize(
    "field", ["", "t=1", "v1=00", f"t={NOW},t={NOW},v1=00", f"t={NOW}", "t=x,v1=00", f"t={NOW},v1="]
)
def test_a_malformed_stripe_signature_is_refused(field: str) -> None:
    """Whatever is missing or twice."""
    assert not verify(Headers([("stripe-signature", field)]), BODY, SECRET, now=NOW).valid


@pytest.mark.parametrize("scheme", ["standard", "slack", "stripe", "v2", "github", "gitlab", "plain", "hmac", "bearer"])
def test_a_named_scheme_is_never_replaced_by_another(scheme: str) -> None:
    """A valid signature of any other scheme does not help."""
    digest = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    others = {
        "github": ("x-hub-signature-256", f"sha256={digest}"),
        "gitlab": ("x-gitlab-token", SECRET),
        "plain": ("x-webhook-signature", digest),
        "bearer": ("authorization", f"Bearer {SECRET}"),
    }
    others.pop(scheme, None)
    verdict = verify(Headers(others.values()), BODY, SECRET, now=NOW, scheme=scheme, header="X-Own")
    assert not verdict.valid


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1"])
@pytest.mark.parametrize("form", ["hex", "base64", "prefixed"])
def test_a_header_and_algorithm_of_the_routes_own(algorithm: str, form: str) -> None:
    """Hex, base64, or ``algorithm=`` before it; the default header does not count then."""
    digest = hmac.new(SECRET.encode(), BODY, algorithm)
    given = base64.b64encode(digest.digest()).decode() if form == "base64" else digest.hexdigest()
    given = f"{algorithm}={given}" if form == "prefixed" else given

    def judged(name: str, value: str) -> bool:
        headers = Headers([(name, value)])
        return verify(headers, BODY, SECRET, now=NOW, scheme="hmac", header="X-Own", algorithm=algorithm).valid

    assert judged("x-own", given)
    assert not judged("x-webhook-signature", given)
    assert not judged("x-own", given[:-1])


def test_a_bearer_token_counts_only_where_it_is_the_scheme() -> None:
    """And then as a whole."""
    token = Headers([("authorization", f"bearer {SECRET}")])
    assert verify(token, BODY, SECRET, now=NOW, scheme="bearer").valid
    assert not verify(token, BODY, SECRET, now=NOW).valid
    for wrong in ("", SECRET, "Bearer", f"Basic {SECRET}", f"Bearer {SECRET[:-1]}", f"Bearer {SECRET}x"):
        assert not verify(Headers([("authorization", wrong)]), BODY, SECRET, now=NOW, scheme="bearer").valid

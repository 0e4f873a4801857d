"""Signatures, with the senders' own libraries as the judges where there are any."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from hermesd.triggers.signatures import TOLERANCE_S, verify
from hermesd.web.message import Headers

NOW = 1_800_000_000.0
SECRET = "a long and quiet secret"
BODY = b'{"action":"opened"}'


def headers(**fields: str) -> Headers:
    return Headers([(name.replace("_", "-"), value) for name, value in fields.items()])


def hexed(signed: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def standard(
    prefix: str, *, body: bytes = BODY, at: float = NOW, key: bytes = b"0123456789abcdef"
) -> tuple[str, Headers]:
    secret = "whsec_" + base64.b64encode(key).decode()
    signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(at, UTC), body.decode())
    return secret, Headers(
        [(f"{prefix}-id", "msg_1"), (f"{prefix}-timestamp", str(int(at))), (f"{prefix}-signature", signature)]
    )


@pytest.mark.parametrize("prefix", ["webhook", "svix"])
def test_what_the_standard_webhooks_library_signs_is_valid(prefix: str) -> None:
    """The oracle signs, we agree, and the signed id is the delivery id."""
    secret, given = standard(prefix)
    verdict = verify(given, BODY, secret, now=NOW)
    assert verdict.valid
    assert verdict.delivery_id == "msg_1"


@given(st.text(max_size=200), st.binary(min_size=1, max_size=40))
def test_any_body_and_key_agree_with_the_oracle(text: str, key: bytes) -> None:
    """Agreement does not depend on the body or key at hand."""
    secret, given = standard("webhook", body=text.encode(), key=key)
    assert verify(given, text.encode(), secret, now=NOW).valid
    assert not verify(given, text.encode() + b" ", secret, now=NOW).valid


def test_one_of_several_standard_signatures_is_enough() -> None:
    """During a key rotation senders sign with both keys."""
    secret, good = standard("webhook")
    both = Headers(
        [
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", str(int(NOW))),
            ("webhook-signature", f"v1,AAAA v2,zzzz {good.get('webhook-signature')}"),
        ]
    )
    assert verify(both, BODY, secret, now=NOW).valid


@pytest.mark.parametrize("drift", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_a_signature_outside_the_window_is_refused(drift: int) -> None:
    """A recorded request cannot be played again later."""
    secret, given = standard("svix", at=NOW + drift)
    assert not verify(given, BODY, secret, now=NOW).valid
    stamp = str(int(NOW + drift))
    v2 = headers(x_webhook_signature_v2=hexed(f"{stamp}.".encode() + BODY), x_webhook_timestamp=stamp)
    assert not verify(v2, BODY, SECRET, now=NOW).valid


def test_a_secret_behind_whsec_that_is_not_base64_verifies_nothing() -> None:
    """A mistyped key refuses; it does not become an empty key."""
    _, given = standard("webhook")
    for secret in ("whsec_", "whsec_%%%"):
        assert not verify(given, BODY, secret, now=NOW).valid


def test_github_signatures() -> None:
    """The lower-case hexadecimal digest behind sha256= is accepted."""
    assert verify(headers(x_hub_signature_256=f"sha256={hexed(BODY)}"), BODY, SECRET, now=NOW).valid


@pytest.mark.parametrize(
    "given",
    [
        "",
        "sha256=",
        hexed(BODY),
        f"sha256={hexed(BODY)[:-1]}",
        f"sha256={hexed(BODY).upper()}",
        f"sha1={hexed(BODY)}",
        f"SHA256={hexed(BODY)}",
        f"sha256={hexed(BODY)},sha256={hexed(BODY)}",
        f"sha256={hexed(BODY, 'the secret of another route')}",
        "sha256=é",
    ],
)
def test_a_malformed_or_foreign_github_signature_is_refused(given: str) -> None:
    """Missing, short, upper case, sha1, doubled, another route's: all refused."""
    assert not verify(headers(x_hub_signature_256=given), BODY, SECRET, now=NOW).valid


def test_a_signature_given_twice_is_refused() -> None:
    """Two fields of the same name are ambiguous even when one is right."""
    field = ("X-Hub-Signature-256", f"sha256={hexed(BODY)}")
    assert not verify(Headers([field, ("x-hub-signature-256", "sha256=00")]), BODY, SECRET, now=NOW).valid


def test_gitlab_token() -> None:
    """The token is the secret itself."""
    assert verify(headers(x_gitlab_token=SECRET), BODY, SECRET, now=NOW).valid
    assert not verify(headers(x_gitlab_token=SECRET + "x"), BODY, SECRET, now=NOW).valid


def test_v2_signs_the_timestamp_and_is_never_downgraded() -> None:
    """A request with a bad or incomplete V2 signature is refused although its plain signature is right."""
    stamp = str(int(NOW))
    good = {"x_webhook_signature_v2": hexed(f"{stamp}.".encode() + BODY), "x_webhook_timestamp": stamp}
    assert verify(headers(**good), BODY, SECRET, now=NOW).valid
    plain = {"x_webhook_signature": hexed(BODY)}
    assert verify(headers(**plain), BODY, SECRET, now=NOW).valid
    assert not verify(
        headers(**plain, x_webhook_signature_v2="0", x_webhook_timestamp=stamp), BODY, SECRET, now=NOW
    ).valid
    assert not verify(headers(**plain, x_webhook_timestamp=stamp), BODY, SECRET, now=NOW).valid
    assert not verify(headers(**plain, x_webhook_signature_v2="0"), BODY, SECRET, now=NOW).valid


@pytest.mark.parametrize("stamp", ["", "-1", "1e9", "٣", "9" * 13, "nan"])
def test_an_odd_timestamp_is_refused(stamp: str) -> None:
    """Only a plain number of seconds is a time."""
    given = headers(x_webhook_signature_v2="00", x_webhook_timestamp=stamp)
    assert not verify(given, BODY, SECRET, now=NOW).valid


@pytest.mark.parametrize("secret", ["", "INSECURE_NO_AUTH"])
def test_without_a_secret_nothing_is_valid(secret: str) -> None:
    """An unset secret, or the word for one, opens nothing, not even to a signature made with it."""
    given = headers(x_hub_signature_256=f"sha256={hexed(BODY, secret)}")
    assert not verify(given, BODY, secret, now=NOW).valid
    assert not verify(headers(x_gitlab_token=secret), BODY, secret, now=NOW).valid

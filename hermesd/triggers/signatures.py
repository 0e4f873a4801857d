"""Who sent this webhook? Each scheme that a sender may use, tried by what is present, strongest first.

1. Standard Webhooks (standardwebhooks.com) and its forebear Svix: ``webhook-*`` or ``svix-*`` id, timestamp and
   signature; HMAC-SHA256 over ``id.timestamp.body``, base64, ``v1,``; the id is thereby signed.
2. ``Stripe-Signature: t=<seconds>,v1=<hex>``: HMAC-SHA256 over ``t.body`` (docs.stripe.com/webhooks/signature).
3. ``X-Slack-Signature: v0=<hex>`` with ``X-Slack-Request-Timestamp``: HMAC-SHA256 over ``v0:timestamp:body``
   (docs.slack.dev, "Verifying requests from Slack").
4. ``X-Hub-Signature-256: sha256=<hex>`` (GitHub).
5. ``X-Gitlab-Token`` (the secret itself).
6. ``X-Webhook-Signature-V2`` with ``X-Webhook-Timestamp``: HMAC-SHA256, hex, over ``timestamp.body``.
7. ``X-Webhook-Signature``: HMAC-SHA256, hex, over the body.

The first scheme with any of its fields present decides alone: a request that carries a bad strong signature is never
saved by a good weak one. A route that names its scheme takes that one and no other; only so are there ``hmac`` (a
header and algorithm of the route's own, hex or base64) and ``bearer`` (RFC 6750 section 2.1). All comparisons take
constant time. A repeated signature field is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermesd.web.message import Headers

TOLERANCE_S = 300
PLACEHOLDER_SECRETS = frozenset({"", "INSECURE_NO_AUTH"})
"""Values that mean "no secret"; hermes-agent's word for it must not become a password that everybody knows."""

_MAX_SIGNATURES = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """``reason`` says, for the log and never for the sender, why it is not ``valid``. ``delivery_id`` is a signed one;
    ``timestamp`` is a signed time, as text."""

    valid: bool
    scheme: str
    reason: str = ""
    delivery_id: str = ""
    timestamp: str = ""


def verify(
    headers: Headers,
    body: bytes,
    secret: str,
    *,
    now: float,
    scheme: str = "auto",
    header: str = "X-Webhook-Signature",
    algorithm: str = "sha256",
) -> Verdict:
    """Judge a request by the route's ``secret``; ``now`` is epoch seconds. See ``WebhookRoute`` for the others."""
    if secret in PLACEHOLDER_SECRETS:
        return Verdict(valid=False, scheme="none", reason="no secret is configured")
    if scheme == "auto":
        scheme = _present(headers)
    match scheme:
        case "standard":
            prefix = "webhook" if "webhook-signature" in headers else "svix"
            return _standard(headers, prefix, body, secret, now)
        case "hmac":
            return _custom(headers, body, secret, header.lower(), algorithm)
        case "bearer":
            return _bearer(headers, secret)
        case "github":
            return _hub(headers, body, secret)
        case "gitlab":
            return _gitlab(headers, secret)
        case "plain":
            return _plain(headers, body, secret)
        case "stripe" | "slack" | "v2":
            return {"stripe": _stripe, "slack": _slack, "v2": _timestamped}[scheme](headers, body, secret, now)
    return Verdict(valid=False, scheme="none", reason="no signature")


def _present(headers: Headers) -> str:
    """The scheme of the strongest signature there is, or ''."""
    return next((scheme for name, scheme in _BY_FIELD if name in headers), "")


_BY_FIELD = (
    ("webhook-signature", "standard"),
    ("svix-signature", "standard"),
    ("stripe-signature", "stripe"),
    ("x-slack-signature", "slack"),
    ("x-hub-signature-256", "github"),
    ("x-gitlab-token", "gitlab"),
    ("x-webhook-signature-v2", "v2"),
    ("x-webhook-timestamp", "v2"),
    ("x-webhook-signature", "plain"),
)


def _standard(headers: Headers, prefix: str, body: bytes, secret: str, now: float) -> Verdict:
    scheme = "standard-webhooks" if prefix == "webhook" else "svix"
    names = (f"{prefix}-id", f"{prefix}-timestamp", f"{prefix}-signature")
    if reason := _unusable(headers, *names):
        return Verdict(valid=False, scheme=scheme, reason=reason)
    delivery_id, timestamp, given = (headers.get(name) for name in names)
    if reason := _stale(timestamp, now):
        return Verdict(valid=False, scheme=scheme, reason=reason)
    key = _standard_key(secret)
    if key is None:
        return Verdict(valid=False, scheme=scheme, reason="the secret behind whsec_ is not base64")
    signed = b".".join((delivery_id.encode("latin-1"), timestamp.encode("latin-1"), body))
    wanted = b"v1," + base64.b64encode(hmac.digest(key, signed, "sha256"))
    offered = given.encode("latin-1").split(b" ")[:_MAX_SIGNATURES]
    # Every one is compared, so that the time taken does not tell which matched.
    valid = sum(hmac.compare_digest(wanted, one) for one in offered) > 0
    return _verdict(scheme, valid, delivery_id=delivery_id, timestamp=timestamp)


def _standard_key(secret: str) -> bytes | None:
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True) or None
    except binascii.Error:
        return None


def _hub(headers: Headers, body: bytes, secret: str) -> Verdict:
    if reason := _unusable(headers, "x-hub-signature-256"):
        return Verdict(valid=False, scheme="github", reason=reason)
    wanted = f"sha256={_hex(secret, body)}"
    return _verdict("github", _equal(wanted, headers.get("x-hub-signature-256")))


def _gitlab(headers: Headers, secret: str) -> Verdict:
    if reason := _unusable(headers, "x-gitlab-token"):
        return Verdict(valid=False, scheme="gitlab", reason=reason)
    return _verdict("gitlab", _same_secret(headers.get("x-gitlab-token"), secret))


def _stripe(headers: Headers, body: bytes, secret: str, now: float) -> Verdict:
    if reason := _unusable(headers, "stripe-signature"):
        return Verdict(valid=False, scheme="stripe", reason=reason)
    parts = [part.strip().partition("=") for part in headers.get("stripe-signature").split(",")[: 2 * _MAX_SIGNATURES]]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1:
        return Verdict(valid=False, scheme="stripe", reason="stripe-signature has not exactly one t")
    if reason := _stale(times[0], now):
        return Verdict(valid=False, scheme="stripe", reason=reason)
    wanted = _hex(secret, times[0].encode("ascii") + b"." + body)
    valid = sum(_equal(wanted, value) for name, _, value in parts if name == "v1") > 0
    return _verdict("stripe", valid, timestamp=times[0])


def _slack(headers: Headers, body: bytes, secret: str, now: float) -> Verdict:
    names = ("x-slack-signature", "x-slack-request-timestamp")
    if reason := _unusable(headers, *names):
        return Verdict(valid=False, scheme="slack", reason=reason)
    given, timestamp = (headers.get(name) for name in names)
    if reason := _stale(timestamp, now):
        return Verdict(valid=False, scheme="slack", reason=reason)
    wanted = "v0=" + _hex(secret, b"v0:" + timestamp.encode("ascii") + b":" + body)
    return _verdict("slack", _equal(wanted, given), timestamp=timestamp)


def _custom(headers: Headers, body: bytes, secret: str, name: str, algorithm: str) -> Verdict:
    if reason := _unusable(headers, name):
        return Verdict(valid=False, scheme="hmac", reason=reason)
    digest = hmac.digest(secret.encode(), body, algorithm)
    given = headers.get(name).removeprefix(f"{algorithm}=")
    # Both are compared, so that the time taken does not tell which form it was.
    valid = _equal(digest.hex(), given) + _equal(base64.b64encode(digest).decode(), given) > 0
    return _verdict("hmac", valid)


def _bearer(headers: Headers, secret: str) -> Verdict:
    if reason := _unusable(headers, "authorization"):
        return Verdict(valid=False, scheme="bearer", reason=reason)
    kind, _, token = headers.get("authorization").partition(" ")
    return _verdict("bearer", kind.lower() == "bearer" and _same_secret(token.strip(), secret))


def _same_secret(given: str, secret: str) -> bool:
    """Digests are compared, so that the secret's length does not show either."""
    sha256 = hashlib.sha256
    return hmac.compare_digest(sha256(given.encode("latin-1")).digest(), sha256(secret.encode()).digest())


def _timestamped(headers: Headers, body: bytes, secret: str, now: float) -> Verdict:
    names = ("x-webhook-signature-v2", "x-webhook-timestamp")
    if reason := _unusable(headers, *names):
        return Verdict(valid=False, scheme="v2", reason=reason)
    given, timestamp = (headers.get(name) for name in names)
    if reason := _stale(timestamp, now):
        return Verdict(valid=False, scheme="v2", reason=reason)
    wanted = _hex(secret, timestamp.encode("latin-1") + b"." + body)
    return _verdict("v2", _equal(wanted, given.removeprefix("sha256=")), timestamp=timestamp)


def _plain(headers: Headers, body: bytes, secret: str) -> Verdict:
    if reason := _unusable(headers, "x-webhook-signature"):
        return Verdict(valid=False, scheme="plain", reason=reason)
    given = headers.get("x-webhook-signature").removeprefix("sha256=")
    return _verdict("plain", _equal(_hex(secret, body), given))


def _verdict(scheme: str, valid: bool, *, delivery_id: str = "", timestamp: str = "") -> Verdict:
    if not valid:
        return Verdict(valid=False, scheme=scheme, reason="the signature does not match")
    return Verdict(valid=True, scheme=scheme, delivery_id=delivery_id, timestamp=timestamp)


def _unusable(headers: Headers, *names: str) -> str:
    for name in names:
        if headers.repeated(name):
            return f"{name} is given twice"
        if not headers.get(name):
            return f"{name} is missing"
    return ""


def _stale(timestamp: str, now: float) -> str:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return "the timestamp is not a number of seconds"
    if abs(now - int(timestamp)) > TOLERANCE_S:
        return f"the timestamp is more than {TOLERANCE_S} s away"
    return ""


def _hex(secret: str, signed: bytes) -> str:
    # Not hmac.digest: it lets the interpreter's lock go, which another thread then holds for longer than this takes.
    return hmac.new(secret.encode(), signed, "sha256").hexdigest()


def _equal(wanted: str, given: str) -> bool:
    return hmac.compare_digest(wanted.encode(), given.encode("latin-1"))

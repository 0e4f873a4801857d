"""What a webhook's request says: its payload, the type of its event, and the id of its delivery.

The delivery id is the signed ``webhook-id``/``svix-id``, or Slack's ``event_id`` and Stripe's ``id`` in the signed
body, when that scheme was used, else the first of X-GitHub-Delivery, svix-id, webhook-id, X-Request-ID,
Idempotency-Key. A request that has none but a signed timestamp is known by the digest of timestamp and body. One that
has neither gets an id of its own: to take two equal payloads for one would lose an event.
"""

from __future__ import annotations

import hashlib
import secrets as random
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec

if TYPE_CHECKING:
    from hermesd.triggers.signatures import Verdict
    from hermesd.web.message import Headers

MAX_ID_CHARS = 200
_ID_FIELDS = ("x-github-delivery", "svix-id", "webhook-id", "x-request-id", "idempotency-key")
_EVENT_FIELDS = ("x-github-event", "x-gitlab-event")
_FORM = "application/x-www-form-urlencoded"
_decode_json = msgspec.json.Decoder().decode


def payload_of(headers: Headers, body: bytes) -> dict[str, object]:
    """The JSON object in the body, or in a form's ``payload`` field (GitHub), or the form itself.

    Raises ValueError with a sentence for the sender.
    """
    try:
        if headers.get("content-type").partition(";")[0].strip().lower() == _FORM:
            form = parse_qs(body.decode(), strict_parsing=True, max_num_fields=1000)
            if "payload" not in form:
                return {name: values[0] if len(values) == 1 else values for name, values in form.items()}
            body = form["payload"][0].encode()
        decoded = _decode_json(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise ValueError("the body is not valid JSON in UTF-8") from None
    if not isinstance(decoded, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - of the sender, not of a caller
    return decoded


def event_type_of(headers: Headers, payload: dict[str, object], verdict: Verdict) -> str:
    """The type of its event, or ''."""
    if verdict.scheme == "slack" and isinstance(inner := payload.get("event"), dict):
        payload = inner  # around it is always "event_callback"
    for name in _EVENT_FIELDS:
        if given := headers.get(name):
            return given[:MAX_ID_CHARS]
    for key in ("event_type", "type"):
        value = payload.get(key)
        if isinstance(value, str) and value:
            return value[:MAX_ID_CHARS]
    return ""


def delivery_id_of(headers: Headers, body: bytes, verdict: Verdict, payload: dict[str, object]) -> str:
    """The id by which a repeat is known."""
    given = verdict.delivery_id or _id_inside(payload, verdict) or next(filter(None, map(headers.get, _ID_FIELDS)), "")
    if given:
        if len(given) <= MAX_ID_CHARS and given.isprintable():
            return given
        return "sha256:" + hashlib.sha256(given.encode("latin-1")).hexdigest()
    if verdict.timestamp:
        return "sha256:" + hashlib.sha256(verdict.timestamp.encode("ascii") + b"." + body).hexdigest()
    return "once:" + random.token_hex(16)


def _id_inside(payload: dict[str, object], verdict: Verdict) -> str:
    """The id that Slack and Stripe put into the signed body; a repeat of theirs has it again."""
    key = {"slack": "event_id", "stripe": "id"}.get(verdict.scheme, "")
    value = payload.get(key)
    return value if isinstance(value, str) and value.isascii() else ""

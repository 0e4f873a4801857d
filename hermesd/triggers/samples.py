"""A request as a route's sender would make it: for ``hermesctl webhook test`` and the curl line."""

from __future__ import annotations

import base64
import hmac
import json
import secrets as random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermesd.config.schema import WebhookConfig, WebhookRoute


def url_of(profile: str, config: WebhookConfig, name: str) -> str:
    """Where the route answers on this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.host, config.host)  # noqa: S104 - compared, not bound
    host = f"[{host}]" if ":" in host else host
    path = f"/webhooks/{name}" if profile == "default" else f"/p/{profile}/webhooks/{name}"
    return f"http://{host}:{config.port}{path}"


def sample_body(route: WebhookRoute) -> bytes:
    """A small payload of the first type of event that the route takes."""
    event = route.events[0] if route.events else "test"
    number = random.token_hex(8)
    if route.scheme == "slack":
        payload: dict[str, object] = {"type": "event_callback", "event_id": f"Ev{number}", "event": {"type": event}}
    else:
        payload = {"id": f"evt_{number}", "type": event}
    return json.dumps(payload | {"text": "a test of the route by hermesctl"}).encode()


def signed_fields(route: WebhookRoute, secret: str, body: bytes, *, now: float) -> dict[str, str]:
    """The header fields of a sender who knows ``secret``; ``now`` is epoch seconds."""
    seconds = str(int(now))
    stamped = _hex(secret, f"{seconds}.".encode() + body)
    fields = {"Content-Type": "application/json"}
    match route.scheme:
        case "standard":
            delivery_id = f"msg_{random.token_hex(8)}"
            encoded = secret.removeprefix("whsec_")
            key = secret.encode() if encoded == secret else base64.b64decode(encoded)
            digest = hmac.digest(key, f"{delivery_id}.{seconds}.".encode() + body, "sha256")
            signature = f"v1,{base64.b64encode(digest).decode()}"
            fields |= {"webhook-id": delivery_id, "webhook-timestamp": seconds, "webhook-signature": signature}
        case "slack":
            signature = f"v0={_hex(secret, f'v0:{seconds}:'.encode() + body)}"
            fields |= {"X-Slack-Request-Timestamp": seconds, "X-Slack-Signature": signature}
        case "stripe":
            fields["Stripe-Signature"] = f"t={seconds},v1={stamped}"
        case "gitlab":
            fields["X-Gitlab-Token"] = secret
        case "bearer":
            fields["Authorization"] = f"Bearer {secret}"
        case "v2":
            fields |= {"X-Webhook-Timestamp": seconds, "X-Webhook-Signature-V2": stamped}
        case "plain":
            fields["X-Webhook-Signature"] = _hex(secret, body)
        case "hmac":
            fields[route.header] = _hex(secret, body, route.algorithm)
        case "auto" | "github":
            fields["X-Hub-Signature-256"] = f"sha256={_hex(secret, body)}"
            if route.events:
                fields["X-GitHub-Event"] = route.events[0]
    return fields


def _hex(secret: str, signed: bytes, algorithm: str = "sha256") -> str:
    return hmac.digest(secret.encode(), signed, algorithm).hex()

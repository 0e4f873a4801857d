"""Webhooks signed by their senders' own libraries, and our samples judged by the same; nothing here signs for them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import stripe
import svix.webhooks
from slack_sdk.signature import SignatureVerifier
from standardwebhooks.webhooks import Webhook

from hermesd.config.schema import WebhookConfig, WebhookRoute
from hermesd.triggers.samples import sample_body, signed_fields
from tests.integration.test_webhook import site
from tests.servers import octokit

SECRET = "a long and quiet secret"
KEY = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
REVIEW = "Review PR #{pull_request.number}: {pull_request.title}"
CONFIG = WebhookConfig(
    enabled=True,
    secret=SECRET,
    rate_per_minute=100_000,
    routes={
        "github": WebhookRoute(),
        "pulls": WebhookRoute(
            events=["pull_request"], prompt=REVIEW, filters=[{"field": "action", "in": ["opened", "edited"]}]
        ),
        "standard": WebhookRoute(secret=KEY),
        "slack": WebhookRoute(scheme="slack"),
        "stripe": WebhookRoute(scheme="stripe"),
    },
)


async def test_every_example_of_githubs_signed_by_octokit_is_taken(tmp_path: Path) -> None:
    """Some hundred payloads of all kinds of events: each is accepted, and one filtered route takes what it should."""
    deliveries = octokit.examples()
    signatures = octokit.sign(SECRET, [each.body for each in deliveries])
    assert len(deliveries) > 200
    wanted = []
    async with site(tmp_path) as here:
        here.webhooks.set_profile("default", CONFIG)
        for number, (each, signature) in enumerate(zip(deliveries, signatures, strict=True)):
            fields = {"x_github_event": each.event, "x_github_delivery": str(number), "x_hub_signature_256": signature}
            body = each.body.encode()
            status, answer, _ = await here.post("/webhooks/github", body, **fields)
            assert status == 202, (each.event, answer)
            if number % 10 and each.event != "pull_request":
                continue
            other = "0" if signature[-1] != "0" else "1"
            wrong = fields | {"x_hub_signature_256": signature[:-1] + other}
            assert (await here.post("/webhooks/github", body, **wrong))[0] == 401
            payload = json.loads(each.body)
            passes = each.event == "pull_request" and payload["action"] in ("opened", "edited")
            status, answer, _ = await here.post("/webhooks/pulls", body, **fields)
            assert status == (202 if passes else 200), (each.event, answer)
            if passes:
                wanted.append(f"Review PR #{payload['pull_request']['number']}: {payload['pull_request']['title']}")
        rows = await here.store.inbox(limit=2000)
    assert sum(row.source == "webhook:github" for row in rows) == len(deliveries)
    assert [row.text for row in reversed(rows) if row.source == "webhook:pulls"] == wanted
    assert len(wanted) > 1


def by_svix(body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = svix.webhooks.Webhook(KEY).sign("msg_s", now, body)
    return {"svix_id": "msg_s", "svix_timestamp": str(int(now.timestamp())), "svix_signature": signature}


def by_standard_webhooks(body: str) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Webhook(KEY).sign("msg_w", now, body)
    return {"webhook_id": "msg_w", "webhook_timestamp": str(int(now.timestamp())), "webhook_signature": signature}


def by_slack(body: str) -> dict[str, str]:
    now = str(int(time.time()))
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=now, body=body)
    return {"x_slack_signature": str(signature), "x_slack_request_timestamp": now}


def by_stripe(body: str) -> dict[str, str]:
    now = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{now}.{body}", SECRET)
    return {"stripe_signature": f"t={now},v1={signature}"}


@pytest.mark.parametrize(
    ("route", "sign"),
    [("standard", by_svix), ("standard", by_standard_webhooks), ("slack", by_slack), ("stripe", by_stripe)],
)
async def test_what_a_senders_library_signs_is_taken_once(
    tmp_path: Path, route: str, sign: Callable[[str], dict[str, str]]
) -> None:
    """A changed body is refused, another route's secret too, and the same delivery is a repeat."""
    body = json.dumps({"id": "evt_1", "event_id": "Ev1", "type": "thing.happened", "text": "größer ✓"})
    fields = sign(body)
    async with site(tmp_path) as here:
        here.webhooks.set_profile("default", CONFIG)
        assert (await here.post(f"/webhooks/{route}", body.encode() + b" ", **fields))[0] == 401
        config = msgspec.structs.replace(CONFIG.routes[route], secret="another secret")
        here.webhooks.set_profile("default", msgspec.structs.replace(CONFIG, routes={route: config}))
        assert (await here.post(f"/webhooks/{route}", body.encode(), **fields))[0] == 401
        here.webhooks.set_profile("default", CONFIG)
        assert (await here.post(f"/webhooks/{route}", body.encode(), **fields))[0] == 202
        assert (await here.post(f"/webhooks/{route}", body.encode(), **fields))[1]["status"] == "duplicate"


# -- our samples, for `webhook test` and the curl line -----------------------------------------------------------------


def sample(scheme: str, secret: str) -> tuple[dict[str, str], str]:
    route = WebhookRoute(scheme=scheme)  # type: ignore[arg-type]  # one of them
    body = sample_body(route)
    return signed_fields(route, secret, body, now=time.time()), body.decode()


def test_the_senders_libraries_take_our_samples() -> None:
    """So that a sample that is accepted here says something about the sender."""
    fields, body = sample("standard", KEY)
    assert Webhook(KEY).verify(body, fields)
    svix.webhooks.Webhook(KEY).verify(body, fields)  # raises, or says nothing
    fields, body = sample("slack", SECRET)
    assert SignatureVerifier(SECRET).is_valid_request(body, fields)
    fields, body = sample("stripe", SECRET)
    assert stripe.WebhookSignature.verify_header(body, fields["Stripe-Signature"], SECRET, 300)
    fields, body = sample("github", SECRET)
    assert octokit.verify(SECRET, body, fields["X-Hub-Signature-256"])
    assert not octokit.verify(SECRET, body + " ", fields["X-Hub-Signature-256"])

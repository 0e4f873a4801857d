"""Webhooks end to end: raw HTTP on loopback, the real listener, handler and store."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
import trio
from slack_sdk.signature import SignatureVerifier
from standardwebhooks.webhooks import Webhook
from stripe import WebhookSignature

from hermesd.config.schema import WebhookConfig, WebhookRoute
from hermesd.errors import ConfigError, StoreError
from hermesd.store.records import Accepted, Address, Cursor, NewEvent
from hermesd.store.sqlite import SqliteStore
from hermesd.triggers.webhook import Webhooks
from hermesd.turns.prompt import INSTRUCTIONS
from hermesd.web.ingress import Ingress

SECRET = "a long and quiet secret"
KEY = "whsec_" + base64.b64encode(b"0123456789abcdef").decode()
CONFIG = WebhookConfig(
    enabled=True,
    secret=SECRET,
    rate_per_minute=5,
    max_body_bytes=2000,
    routes={
        "deploy": WebhookRoute(prompt="Deploy {ref} of {repository.name}", events=["push"], deliver="telegram:7:3"),
        "any": WebhookRoute(session="route"),
        "signed": WebhookRoute(secret=KEY),
        "slack": WebhookRoute(scheme="slack"),
        "stripe": WebhookRoute(scheme="stripe"),
        "only": WebhookRoute(prompt="{ref} is out", deliver_only=True, deliver="log,local"),
        "else": WebhookRoute(skills=["review"], model="gpt", provider="openai", toolsets=["web", "files"]),
        "off": WebhookRoute(enabled=False),
        "open": WebhookRoute(secret="INSECURE_NO_AUTH"),
    },
)
PUSH = {"ref": "main", "repository": {"name": "hermesd"}}


@dataclass
class Site:
    """A listening site. ``post`` speaks HTTP without a library in between."""

    store: SqliteStore
    webhooks: Webhooks
    ingress: Ingress

    async def post(self, path: str, body: bytes, **fields: str) -> tuple[int, dict[str, object], str]:
        """Status, JSON body and head of the answer."""
        head = [f"POST {path} HTTP/1.1", "host: 127.0.0.1", f"content-length: {len(body)}", "connection: close"]
        head += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        with trio.fail_after(60):
            async with await trio.open_tcp_stream("127.0.0.1", self.ingress.port) as stream:
                await stream.send_all("\r\n".join(head).encode() + b"\r\n\r\n" + body)
                answer = b"".join([chunk async for chunk in stream])
        top, _, content = answer.partition(b"\r\n\r\n")
        return int(top.split()[1]), json.loads(content), top.decode()

    async def signed(self, path: str, payload: object = PUSH, **fields: str) -> tuple[int, dict[str, object], str]:
        """Post as GitHub would."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        return await self.post(path, body, **{"x_hub_signature_256": f"sha256={digest}", **fields})


@asynccontextmanager
async def site(path: Path, kind: type[SqliteStore] = SqliteStore) -> AsyncIterator[Site]:
    store = kind.open(path / "state.db")
    webhooks = Webhooks(store)
    webhooks.set_profile("default", CONFIG)
    ingress = Ingress("127.0.0.1", 0)
    for prefix in Webhooks.PREFIXES:
        ingress.add_route("POST", prefix, webhooks.handle)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: store.run(task_status=task_status))
            await nursery.start(lambda task_status: ingress.run(task_status=task_status))
            yield Site(store, webhooks, ingress)
            nursery.cancel_scope.cancel()
    finally:
        store.close()


async def test_a_signed_request_is_durable_before_its_202(tmp_path: Path) -> None:
    """When the sender has its 202, another reader of the same file finds the event."""
    async with site(tmp_path) as here:
        status, answer, _ = await here.signed("/webhooks/deploy", x_github_event="push", x_github_delivery="d-1")
        other = SqliteStore.open(tmp_path / "state.db")
        try:
            [row] = await other.inbox()
        finally:
            other.close()
    assert (status, answer) == (202, {"status": "accepted", "delivery_id": "d-1", "id": row.id})
    assert row.text == "Deploy main of hermesd"
    assert row.source == "webhook:deploy"
    assert row.session_key == "agent:default:webhook:dm:deploy:d-1"
    assert row.address == Address(platform="telegram", chat="7", thread="3")
    assert row.untrusted
    assert row.meta == {"event_type": "push"}


async def test_a_repeated_delivery_id_is_answered_duplicate(tmp_path: Path) -> None:
    """Across a restart, too: 200 with the id of the first, and one row."""
    async with site(tmp_path) as here:
        assert (await here.signed("/webhooks/any", x_request_id="r-1"))[0] == 202
    async with site(tmp_path) as here:
        status, answer, _ = await here.signed("/webhooks/any", x_request_id="r-1")
        assert (status, answer["status"]) == (200, "duplicate")
        assert len(await here.store.inbox()) == 1
        assert (await here.signed("/webhooks/deploy", x_github_event="push", x_request_id="r-1"))[0] == 202


async def test_profiles_have_routes_of_their_own(tmp_path: Path) -> None:
    """/p/<profile>/webhooks reaches that profile and no other; removing it makes its routes unknown."""
    async with site(tmp_path) as here:
        assert (await here.signed("/p/coder/webhooks/any"))[0] == 404
        here.webhooks.set_profile("coder", CONFIG)
        assert (await here.signed("/p/coder/webhooks/any"))[0] == 202
        assert (await here.signed("/p/default/webhooks/any"))[0] == 202
        here.webhooks.remove_profile("coder")
        assert (await here.signed("/p/coder/webhooks/any"))[0] == 404
        assert sorted(row.profile for row in await here.store.inbox()) == ["coder", "default"]


async def test_the_answers_come_in_their_order(tmp_path: Path) -> None:
    """404 before 403 before 413 before 401 before 429 before 400 before 200: what is asked first is answered."""
    large = b"x" * 3000
    async with site(tmp_path) as here:
        assert (await here.post("/webhooks/nothing", large))[0] == 404
        assert (await here.post("/webhooks/any/deeper", b""))[0] == 404
        assert (await here.post("/p/no profile/webhooks/any".replace(" ", "%20"), b""))[0] == 404
        assert (await here.post("/webhooks/off", large))[0] == 403
        assert (await here.signed("/webhooks/open", large))[0] == 403
        assert (await here.post("/webhooks/any", large))[0] == 413
        assert (await here.post("/webhooks/any", b"not json"))[0] == 401
        for _ in range(5):
            assert (await here.signed("/webhooks/any", b"not json"))[0] == 400
        status, _, head = await here.signed("/webhooks/any", b"not json")
        assert status == 429
        assert "retry-after: " in head
        status, answer, _ = await here.signed("/webhooks/deploy", x_github_event="star")
        assert (status, answer["status"]) == (200, "ignored")
        assert await here.store.inbox() == []


@pytest.mark.parametrize("body", [b"", b"[1]", b'"text"', b"null", b"\xff\xfe{}", b'{"a": "\xff"}', b"[" * 1900])
async def test_a_signed_body_that_is_no_object_is_400(tmp_path: Path, body: bytes) -> None:
    """Never a 500."""
    async with site(tmp_path) as here:
        assert (await here.signed("/webhooks/any", body))[0] == 400


async def test_unsigned_and_wrongly_signed_requests_cost_no_tokens(tmp_path: Path) -> None:
    """A stranger cannot use up the rate of a route."""
    async with site(tmp_path) as here:
        for _ in range(10):
            assert (await here.post("/webhooks/any", b"{}", x_gitlab_token="guess"))[0] == 401
        assert (await here.signed("/webhooks/any"))[0] == 202


async def test_the_signed_id_of_a_standard_webhook_is_its_delivery_id(tmp_path: Path) -> None:
    """An unsigned X-GitHub-Delivery beside it cannot make a replay look new."""
    signature = Webhook(KEY).sign("msg_1", datetime.now(UTC), "{}")
    fields = {
        "webhook_id": "msg_1",
        "webhook_timestamp": str(int(datetime.now(UTC).timestamp())),
        "webhook_signature": signature,
    }
    async with site(tmp_path) as here:
        assert (await here.post("/webhooks/signed", b"{}", **fields))[1]["delivery_id"] == "msg_1"
        status, answer, _ = await here.post("/webhooks/signed", b"{}", x_github_delivery="new", **fields)
        assert (status, answer["status"]) == (200, "duplicate")


async def test_equal_bodies_without_an_id_are_two_events(tmp_path: Path) -> None:
    """Two equal payloads may be two things that happened; nothing is lost on a guess."""
    async with site(tmp_path) as here:
        first, second = await here.signed("/webhooks/any"), await here.signed("/webhooks/any")
        assert (first[0], second[0]) == (202, 202)
        keys = {row.session_key for row in await here.store.inbox()}
    assert keys == {"agent:default:webhook:dm:any"}


async def test_a_form_with_a_payload_field_is_read(tmp_path: Path) -> None:
    """GitHub's other content type."""
    async with site(tmp_path) as here:
        body = b"payload=%7B%22ref%22%3A%22main%22%7D"
        form = "application/x-www-form-urlencoded; charset=utf-8"
        assert (await here.signed("/webhooks/any", body, content_type=form))[0] == 202
        [row] = await here.store.inbox()
    assert row.text == '{"ref":"main"}'


async def test_slacks_challenge_is_answered_only_when_it_is_signed(tmp_path: Path) -> None:
    """As Slack wants it when the URL is entered; nothing is stored."""
    body = b'{"type": "url_verification", "challenge": "3eZbrw1a"}'
    async with site(tmp_path) as here:
        status, answer, _ = await here.post("/webhooks/slack", body, **slack_fields(body))
        assert (status, answer) == (200, {"challenge": "3eZbrw1a"})
        assert (await here.post("/webhooks/slack", body))[0] == 401
        assert (await here.signed("/webhooks/slack", body))[0] == 401
        assert await here.store.inbox() == []


async def test_the_ids_in_signed_bodies_of_slack_and_stripe_tell_repeats(tmp_path: Path) -> None:
    """A new signature or an unsigned id beside it does not make a repeat look new."""
    event = b'{"type": "event_callback", "event_id": "Ev1", "event": {"type": "app_mention"}}'
    charge = b'{"id": "evt_1", "type": "charge.failed"}'
    now = int(time.time())
    async with site(tmp_path) as here:
        assert (await here.post("/webhooks/slack", event, **slack_fields(event)))[1]["delivery_id"] == "Ev1"
        again = await here.post("/webhooks/slack", event, x_request_id="new", **slack_fields(event, now - 60))
        assert (again[0], again[1]["status"]) == (200, "duplicate")
        assert (await here.post("/webhooks/stripe", charge, **stripe_fields(charge, now)))[1]["delivery_id"] == "evt_1"
        again = await here.post("/webhooks/stripe", charge, x_request_id="new", **stripe_fields(charge, now - 60))
        assert (again[0], again[1]["status"]) == (200, "duplicate")
        assert [row.meta["event_type"] for row in await here.store.inbox()] == ["charge.failed", "app_mention"]


def slack_fields(body: bytes, at: int = 0) -> dict[str, str]:
    at = at or int(time.time())
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=str(at), body=body)
    return {"x_slack_signature": str(signature), "x_slack_request_timestamp": str(at)}


def stripe_fields(body: bytes, at: int) -> dict[str, str]:
    digest = WebhookSignature._compute_signature(f"{at}.{body.decode()}", SECRET)
    return {"stripe_signature": f"t={at},v1={digest}"}


async def test_deliver_only_sends_the_text_without_a_turn(tmp_path: Path) -> None:
    """A row for each target, once for a delivery id; the inbox gets nothing."""
    async with site(tmp_path) as here:
        assert (await here.signed("/webhooks/only", x_request_id="r-1"))[0] == 202
        status, answer, _ = await here.signed("/webhooks/only", x_request_id="r-1")
        assert (status, answer["status"]) == (200, "duplicate")
        rows = await here.store.outbox()
        assert await here.store.inbox() == []
    assert sorted((row.address.platform, row.text) for row in rows) == [
        ("local", "main is out"),
        ("log", "main is out"),
    ]


async def test_a_routes_model_tools_and_skills_go_with_the_event(tmp_path: Path) -> None:
    """A skill's text is the owner's: no part of the untrusted text. A missing or bad one is said, and costs nothing."""
    async with site(tmp_path) as here:
        assert (await here.signed("/webhooks/else"))[0] == 202
        (tmp_path / "skills" / "review").mkdir(parents=True)
        (tmp_path / "skills" / "review" / "SKILL.md").write_text("Read every line.")
        here.webhooks.set_profile("default", CONFIG, root=tmp_path)
        assert (await here.signed("/webhooks/else"))[0] == 202
        (tmp_path / "skills" / "review" / "SKILL.md").write_text("x" * 100_000)
        assert (await here.signed("/webhooks/else"))[0] == 202
        too_large, with_it, without = await here.store.inbox()
    assert with_it.meta["use_model"] == "gpt"
    assert with_it.meta["use_provider"] == "openai"
    assert with_it.meta["use_toolsets"] == "web,files"
    assert "Read every line." in with_it.meta[INSTRUCTIONS]
    assert "Read every line." not in with_it.text
    assert "no skill 'review'" in without.meta[INSTRUCTIONS]
    assert too_large.meta[INSTRUCTIONS] == "Note: the skill 'review' cannot be used."


async def test_each_answer_is_counted_by_its_reason(tmp_path: Path) -> None:
    """For people who wonder why nothing happens."""
    async with site(tmp_path) as here:
        await here.signed("/webhooks/deploy", x_github_event="push", x_request_id="1")
        await here.signed("/webhooks/deploy", x_github_event="push", x_request_id="1")
        await here.signed("/webhooks/deploy", x_github_event="star")
        await here.signed("/webhooks/deploy", b"[]")
        await here.post("/webhooks/deploy", b"{}")
        await here.post("/webhooks/deploy", b"x" * 3000)
        await here.signed("/webhooks/off")
        counted = here.webhooks.counters.of("default", "deploy")
        assert (counted.accepted, counted.duplicates, counted.ignored) == (1, 1, 1)
        assert counted.refused == {"body": 1, "signature": 1, "size": 1}
        assert here.webhooks.counters.of("default", "off").refused == {"disabled": 1}
        here.webhooks.set_profile("default", CONFIG)
        assert here.webhooks.counters.of("default", "deploy") is counted


class Refuses(SqliteStore):
    """A store whose disk is full."""

    async def accept(self, events: Sequence[NewEvent], *, cursor: Cursor | None = None) -> list[Accepted]:
        raise StoreError("the disk is full")


async def test_a_refusing_store_is_503_with_retry_after(tmp_path: Path) -> None:
    """The sender keeps the event and tries again; nothing is half-written."""
    async with site(tmp_path, Refuses) as here:
        status, _, head = await here.signed("/webhooks/any")
        assert status == 503
        assert "retry-after: 5" in head
        assert await here.store.inbox() == []


@pytest.mark.parametrize(
    "deliver", ["telegram", "telegram:1,", "", ":7", "log:7", "telegrm:7", "all", "origin", "telegram:"]
)
def test_a_target_that_cannot_be_is_refused_when_it_is_configured(deliver: str) -> None:
    """ConfigError names the route, and the former routes stay in force."""
    webhooks = Webhooks(SimpleNamespace(webhooks=None))  # type: ignore[arg-type]  # no request is made
    route = msgspec.structs.replace(CONFIG.routes["any"], deliver=deliver)
    with pytest.raises(ConfigError, match="deliver"):
        webhooks.set_profile("default", msgspec.structs.replace(CONFIG, routes={"any": route}))


async def test_a_filter_that_cannot_be_used_leaves_the_former_routes_in_force(tmp_path: Path) -> None:
    """ConfigError names profile, route and place; who sends meanwhile notices nothing."""
    async with site(tmp_path) as here:
        route = msgspec.structs.replace(CONFIG.routes["any"], filters=[{"any": [{"field": "a", "regex": "(a+)+"}]}])
        with pytest.raises(ConfigError) as caught:
            here.webhooks.set_profile("default", msgspec.structs.replace(CONFIG, routes={"new": route}))
        assert caught.value.where == "platforms.webhook.routes of profile default.new"
        assert caught.value.what.startswith("filters[0].any[0].regex")
        assert (await here.signed("/webhooks/new"))[0] == 404
        assert (await here.signed("/webhooks/any"))[0] == 202

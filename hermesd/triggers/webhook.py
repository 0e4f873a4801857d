"""Webhooks: signed HTTP requests become events, durable before they are answered 202.

``POST /webhooks/<route>`` for the profile ``default`` and ``/p/<profile>/webhooks/<route>`` for any, answered in this
order: 404 unknown → 403 disabled (or no secret) → 413 → 401 → 429 → 400 body → 200 ignored → 200 duplicate →
202 accepted. 503 with Retry-After when the store refuses; nothing is then half-written.

Delivery id, which is processed once in 7 days: the signed ``webhook-id``/``svix-id``, or Slack's ``event_id`` and
Stripe's ``id`` in the signed body, when that scheme was used, else the first of X-GitHub-Delivery, svix-id, webhook-id,
X-Request-ID, Idempotency-Key. A request that has none but a signed
timestamp is known by the digest of timestamp and body. One that has neither gets an id of its own: to take two equal
payloads for one would lose an event.
"""

from __future__ import annotations

import hashlib
import logging
import secrets as random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import msgspec
import trio

from hermesd.errors import NotFoundError, StoreError
from hermesd.home import DEFAULT_PROFILE, PROFILE_NAME
from hermesd.store.records import Address, NewEvent
from hermesd.triggers.compose import read_skills
from hermesd.triggers.deliver import parse_deliver
from hermesd.triggers.rate import TokenBucket
from hermesd.triggers.signatures import PLACEHOLDER_SECRETS, Verdict, verify
from hermesd.triggers.templates import render
from hermesd.turns.outgoing import outbox_rows, with_places
from hermesd.turns.prompt import INSTRUCTIONS
from hermesd.web.message import BodyTooLargeError, Headers, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermesd.config.schema import WebhookConfig, WebhookRoute
    from hermesd.store.protocol import Store

logger = logging.getLogger(__name__)

_ID_FIELDS = ("x-github-delivery", "svix-id", "webhook-id", "x-request-id", "idempotency-key")
_EVENT_FIELDS = ("x-github-event", "x-gitlab-event")
_MAX_ID_CHARS = 200
_FORM = "application/x-www-form-urlencoded"
_REASONS = {400: "body", 401: "signature", 403: "disabled", 413: "size", 429: "rate", 503: "store"}
_decode_json = msgspec.json.Decoder().decode


@dataclass(slots=True)
class _Route:
    """A route in force: its configuration with the profile's defaults filled in."""

    profile: str
    name: str
    config: WebhookRoute
    secret: str
    places: list[Address]
    max_body_bytes: int
    bucket: TokenBucket
    skills: Path | None
    counters: Counters


class Counters(msgspec.Struct, kw_only=True):
    """What became of a route's requests since the daemon started. ``refused`` is by reason, ``last_at`` in seconds."""

    accepted: int = 0
    duplicates: int = 0
    ignored: int = 0
    refused: dict[str, int] = {}
    last_at: float = 0.0

    def count(self, response: Response, now: float) -> None:
        """By the answer that was given; reasons are few, and none is the sender's to choose."""
        self.last_at = now
        match response.status:
            case 202:
                self.accepted += 1
            case 200:
                body = msgspec.json.decode(response.body)
                self.duplicates += body.get("status") == "duplicate"
                self.ignored += body.get("status") == "ignored"
            case status:
                reason = _REASONS.get(status, str(status))
                self.refused[reason] = self.refused.get(reason, 0) + 1


class _Rejected(Exception):  # noqa: N818 - an answer on its way, not an error of ours
    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Webhooks:
    """The webhook routes of all profiles; ``handle`` is the HTTP handler of ``PREFIXES``."""

    PREFIXES = ("/webhooks", "/p")

    def __init__(
        self,
        store: Store,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._now = now
        self._clock = clock
        self._profiles: dict[str, dict[str, _Route]] = {}
        self._counters: dict[tuple[str, str], Counters] = {}

    def counters(self, profile: str, name: str) -> Counters:
        """Of a route of the configuration, in force or not."""
        return self._counters.setdefault((profile, name), Counters())

    def set_profile(
        self,
        profile: str,
        config: WebhookConfig,
        *,
        homes: Mapping[str, str] | None = None,
        skills: Path | None = None,
    ) -> None:
        """Put a profile's routes in force in place of its former ones; raises ConfigError and changes nothing.

        ``homes``: the home channels of its platforms, for targets that name a platform only. ``skills``: its directory
        of skills.
        """
        where = f"platforms.webhook.routes of profile {profile}"
        self._profiles[profile] = {
            name: _Route(
                profile=profile,
                name=name,
                config=route,
                secret=route.secret or config.secret,
                places=parse_deliver(route.deliver, homes=homes or {}, where=f"{where}.{name}"),
                max_body_bytes=config.max_body_bytes,
                bucket=TokenBucket(config.rate_per_minute, clock=self._clock),
                skills=skills,
                counters=self.counters(profile, name),
            )
            for name, route in config.routes.items()
        }

    def has(self, profile: str) -> bool:
        """Whether its routes are in force."""
        return profile in self._profiles

    def remove_profile(self, profile: str) -> None:
        """Answer the profile's routes with 404 from now on."""
        self._profiles.pop(profile, None)

    async def handle(self, request: Request) -> Response:
        """Answer one request; never raises for what a client sent."""
        try:
            route = self._find(request.path)
        except _Rejected as rejected:
            return rejected.response
        try:
            response = await self._answer(route, request)
        except BodyTooLargeError:
            route.counters.count(json_response(413), self._now())
            raise
        route.counters.count(response, self._now())
        return response

    async def _answer(self, route: _Route, request: Request) -> Response:
        try:
            self._check_open(route)
            body = await request.body(max_bytes=route.max_body_bytes)
            verdict = self._authenticate(route, request, body)
            self._limit(route)
            return await self._accept(route, request, body, verdict)
        except _Rejected as rejected:
            return rejected.response

    # -- one step each, in the order of the answers --------------------------------------------------------------------

    def _find(self, path: str) -> _Route:
        match path.strip("/").split("/"):
            case ["webhooks", name]:
                profile = DEFAULT_PROFILE
            case ["p", profile, "webhooks", name] if PROFILE_NAME.fullmatch(profile):
                pass
            case _:
                raise _Rejected(json_response(404, error="not found"))
        route = self._profiles.get(profile, {}).get(name)
        if route is None:
            raise _Rejected(json_response(404, error="no such route"))
        return route

    def _check_open(self, route: _Route) -> None:
        if not route.config.enabled:
            raise _Rejected(json_response(403, error="the route is disabled"))
        if route.secret in PLACEHOLDER_SECRETS:
            logger.warning("webhook %s of %s is refused: the route has no secret", route.name, route.profile)
            raise _Rejected(json_response(403, error="the route has no secret"))

    def _authenticate(self, route: _Route, request: Request, body: bytes) -> Verdict:
        verdict = verify(
            request.headers,
            body,
            route.secret,
            now=self._now(),
            scheme=route.config.scheme,
            header=route.config.header,
            algorithm=route.config.algorithm,
        )
        if not verdict.valid:
            logger.warning("webhook %s of %s is refused: %s", route.name, route.profile, verdict.reason)
            raise _Rejected(json_response(401, error="not signed by a known sender"))
        return verdict

    def _limit(self, route: _Route) -> None:
        wait_s = route.bucket.take()
        if wait_s:
            headers = {"retry-after": str(max(1, round(wait_s + 0.5)))}
            raise _Rejected(json_response(429, headers=headers, error="too many requests"))

    async def _accept(self, route: _Route, request: Request, body: bytes, verdict: Verdict) -> Response:
        payload = _payload(request.headers, body)
        if verdict.scheme == "slack" and payload.get("type") == "url_verification":
            return json_response(200, challenge=payload.get("challenge"))
        event_type = _event_type(request.headers, payload, verdict)
        if route.config.events and event_type not in route.config.events:
            return json_response(200, status="ignored", event=event_type)
        delivery_id = _delivery_id(request.headers, body, verdict, payload)
        skills = await _skills(route) if route.config.skills else ""
        event = _event(route, payload, event_type=event_type, delivery_id=delivery_id, skills=skills)
        try:
            stored_id, repeated = await (self._offer(event) if route.config.deliver_only else self._store_event(event))
        except StoreError as error:
            name = f"{route.profile}/{route.name}"
            logger.error("webhook %s is not stored: %s", name, error.what)  # noqa: TRY400 - the sender tries again
            return json_response(503, headers={"retry-after": "5"}, error="not stored; try again")
        if repeated:
            return json_response(200, status="duplicate", delivery_id=delivery_id, id=stored_id)
        return json_response(202, status="accepted", delivery_id=delivery_id, id=stored_id)

    async def _store_event(self, event: NewEvent) -> tuple[int, bool]:
        [accepted] = await self._store.accept([event])
        return accepted.id, accepted.duplicate

    async def _offer(self, event: NewEvent) -> tuple[int, bool]:
        """Without a turn: the text itself goes out, once for each delivery id."""
        key = f"{event.source}:{event.profile}:{event.delivery_id}"
        known = await self._store.outbox_by_key(key)
        rows = await self._store.offer(outbox_rows(event, event.text, key=key, kind="notice"))
        return rows[0].id, known is not None


def _event(
    route: _Route, payload: dict[str, object], *, event_type: str, delivery_id: str, skills: str = ""
) -> NewEvent:
    key = f"agent:{route.profile}:webhook:dm:{route.name}"
    address, meta = with_places(route.places)
    wanted = {
        "event_type": event_type,
        INSTRUCTIONS: skills,
        "use_model": route.config.model,
        "use_provider": route.config.provider,
        "use_toolsets": ",".join(route.config.toolsets),
    }
    return NewEvent(
        profile=route.profile,
        source=f"webhook:{route.name}",
        delivery_id=delivery_id,
        session_key=key if route.config.session == "route" else f"{key}:{delivery_id}",
        text=render(route.config.prompt, payload, event_type=event_type),
        address=address,
        sender=f"webhook:{route.name}",
        untrusted=True,
        meta=meta | {name: value for name, value in wanted.items() if value},
    )


async def _skills(route: _Route) -> str:
    """The texts of its skills. A missing one does not cost the event: it is said, to the agent as well."""
    try:
        directory = route.skills or Path()
        return await trio.to_thread.run_sync(read_skills, route.config.skills, directory)
    except NotFoundError as error:
        logger.warning("webhook %s of %s goes without its skills: %s", route.name, route.profile, error.what)
        return f"Note: {error.what}."


def _payload(headers: Headers, body: bytes) -> dict[str, object]:
    """The JSON object in the body, or in a form's ``payload`` field (GitHub), or the form itself."""
    try:
        if headers.get("content-type").partition(";")[0].strip().lower() == _FORM:
            form = parse_qs(body.decode(), strict_parsing=True, max_num_fields=1000)
            if "payload" not in form:
                return {name: values[0] if len(values) == 1 else values for name, values in form.items()}
            body = form["payload"][0].encode()
        decoded = _decode_json(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _Rejected(json_response(400, error="the body is not valid JSON in UTF-8")) from error
    if not isinstance(decoded, dict):
        raise _Rejected(json_response(400, error="the body is not a JSON object"))
    return decoded


def _event_type(headers: Headers, payload: dict[str, object], verdict: Verdict) -> str:
    if verdict.scheme == "slack" and isinstance(inner := payload.get("event"), dict):
        payload = inner  # around it is always "event_callback"
    for name in _EVENT_FIELDS:
        if given := headers.get(name):
            return given[:_MAX_ID_CHARS]
    for key in ("event_type", "type"):
        value = payload.get(key)
        if isinstance(value, str) and value:
            return value[:_MAX_ID_CHARS]
    return ""


def _delivery_id(headers: Headers, body: bytes, verdict: Verdict, payload: dict[str, object]) -> str:
    given = verdict.delivery_id or _id_inside(payload, verdict) or next(filter(None, map(headers.get, _ID_FIELDS)), "")
    if given:
        if len(given) <= _MAX_ID_CHARS and given.isprintable():
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

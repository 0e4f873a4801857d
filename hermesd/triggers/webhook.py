"""Webhooks: signed HTTP requests become events, durable before they are answered 202.

``POST /webhooks/<route>`` for the profile ``default`` and ``/p/<profile>/webhooks/<route>`` for any, answered in this
order: 404 unknown → 403 disabled, no secret, or sent by a page in a browser → 413 → 401 (403 where besides the Host
field names nothing on loopback, but the listener is there) → 429 → 400 body → 200 ignored by type or filter → 200
duplicate → 202 accepted; with ``?wait=SECONDS`` 200 with the answer instead of the last two, if it is there in time.
503 with Retry-After when the store refuses; nothing is then half-written.

A delivery id (``webhook_request``) is processed once in 7 days.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
import trio

from hermesd.errors import StoreError
from hermesd.home import DEFAULT_PROFILE, PROFILE_NAME, Profile
from hermesd.mcp.oauth.ssrf import is_loopback_host, literal
from hermesd.skills.library import read_usable
from hermesd.store.records import NewEvent
from hermesd.triggers.filters import Filters, Seen, compile_filters, read_files
from hermesd.triggers.rate import TokenBucket
from hermesd.triggers.signatures import PLACEHOLDER_SECRETS, Verdict, verify
from hermesd.triggers.templates import render
from hermesd.triggers.webhook_counters import CounterBook
from hermesd.triggers.webhook_places import Places
from hermesd.triggers.webhook_request import delivery_id_of, event_type_of, payload_of
from hermesd.triggers.webhook_wait import WaitingRoom, wanted_wait_s
from hermesd.turns.outgoing import outbox_rows, with_places
from hermesd.turns.prompt import INSTRUCTIONS
from hermesd.web.message import BodyTooLargeError, Request, Response, json_response

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermesd.config.schema import WebhookConfig, WebhookRoute
    from hermesd.store.protocol import Store
    from hermesd.web.message import Headers

logger = logging.getLogger(__name__)

FILE_THREADS = trio.CapacityLimiter(4)
"""For what is read of each request: files of filters, skills. A slow disk holds up webhooks, and nothing else."""


@dataclass(slots=True)
class _Route:
    """A route in force: its configuration with the profile's defaults filled in."""

    profile: str
    name: str
    config: WebhookRoute
    secret: str
    places: Places
    filters: Filters
    max_body_bytes: int
    bucket: TokenBucket
    root: Path
    is_local: bool
    """Whether it is listened for on loopback only."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """An answer, and what it counts as: accepted, duplicate, ignored, '' (nothing), or why the request is refused."""

    response: Response
    counts_as: str


@dataclass(slots=True)
class _Delivery:
    """A request that is taken."""

    route: _Route
    payload: dict[str, object]
    event_type: str
    delivery_id: str
    wait_s: float
    plain: bool


class _Rejected(Exception):  # noqa: N818 - an answer on its way, not an error of ours
    def __init__(self, response: Response, counts_as: str = "") -> None:
        super().__init__(response.status)
        self.outcome = _Outcome(response, counts_as)


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
        self.counters = CounterBook(store.webhooks)
        self.waiting = WaitingRoom(store)

    def set_profile(
        self,
        profile: str,
        config: WebhookConfig,
        *,
        homes: Mapping[str, str] | None = None,
        root: Path | None = None,
    ) -> None:
        """Put a profile's routes in force in place of its former ones; raises ConfigError and changes nothing.

        ``homes``: the home channels of its platforms, for targets that name a platform only. ``root``: its directory.
        Blocks for as long as it takes to read the files that filters name.
        """
        where = f"platforms.webhook.routes of profile {profile}"
        self._profiles[profile] = {
            name: _Route(
                profile=profile,
                name=name,
                config=route,
                secret=route.secret or config.secret,
                places=Places(route, homes=homes or {}, where=f"{where}.{name}"),
                filters=compile_filters(route.filters, where=f"{where}.{name}", home=root),
                max_body_bytes=config.max_body_bytes,
                bucket=TokenBucket(config.rate_per_minute, clock=self._clock),
                root=root or Path(),
                is_local=is_loopback_host(config.host),
            )
            for name, route in config.routes.items()
        }

    def has(self, profile: str) -> bool:
        """Whether its routes are in force."""
        return profile in self._profiles

    def remove_profile(self, profile: str) -> None:
        """Answer the profile's routes with 404 from now on, and those who wait with what is known."""
        self._profiles.pop(profile, None)
        self.waiting.release(profile)
        self.counters.forget(profile)

    async def handle(self, request: Request) -> Response:
        """Answer one request; never raises for what a client sent."""
        try:
            route = self._find(request.path)
        except _Rejected as rejected:
            return rejected.outcome.response
        try:
            outcome = await self._answer(route, request)
        except _Rejected as rejected:
            outcome = rejected.outcome
        except BodyTooLargeError:
            self._count(route, "size")
            raise
        self._count(route, outcome.counts_as)
        return outcome.response

    def _count(self, route: _Route, counts_as: str) -> None:
        if counts_as:
            self.counters.count(route.profile, route.name, counts_as, self._now())

    async def _answer(self, route: _Route, request: Request) -> _Outcome:
        _check_open(route, request)
        body = await request.body(max_bytes=route.max_body_bytes)
        verdict = self._authenticate(route, request, body)
        _limit(route)
        return await self._accept(await _delivery(route, request, body, verdict))

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
            if route.is_local and _is_foreign(request.headers.get("host")):
                raise _Rejected(json_response(403, error="not signed, and for another host"), "origin")
            raise _Rejected(json_response(401, error="not signed by a known sender"), "signature")
        return verdict

    async def _accept(self, delivery: _Delivery) -> _Outcome:
        route = delivery.route
        event = _event(delivery, skills=await _skills(route) if route.config.skills else "")
        try:
            stored_id, repeated = await (self._offer(event) if route.config.deliver_only else self._store_event(event))
        except StoreError as error:
            name = f"{route.profile}/{route.name}"
            logger.error("webhook %s is not stored: %s", name, error.what)  # noqa: TRY400 - the sender tries again
            response = json_response(503, headers={"retry-after": "5"}, error="not stored; try again")
            return _Outcome(response, "store")
        known: dict[str, object] = {"delivery_id": delivery.delivery_id, "id": stored_id}
        counts_as = "duplicate" if repeated else "accepted"
        if delivery.wait_s:
            self._count(route, counts_as)  # now, and not when the wait is over
            return _Outcome(await self._wait(delivery, stored_id, known | {"duplicate": repeated}), "")
        return _Outcome(_said(200 if repeated else 202, {"status": counts_as, **known}), counts_as)

    async def _wait(self, delivery: _Delivery, inbox_id: int, known: dict[str, object]) -> Response:
        """The answer, if it comes in time. The event is accepted already, whatever happens here."""
        profile, name = delivery.route.profile, delivery.route.name
        if not self.waiting.has_place(profile, name):
            return _said(202, {"status": "accepted", "reason": "too many requests wait", **known})
        answer = await self.waiting.answer(inbox_id, profile=profile, route=name, seconds=delivery.wait_s)
        if answer is None:
            return _said(202, {"status": "accepted", "reason": "not answered in time", **known})
        if delivery.plain and answer.state == "done":
            return Response(200, answer.text.encode(), content_type="text/plain; charset=utf-8")
        said = {"text": answer.text, "error": answer.error, "session": answer.session}
        return _said(200, {"status": answer.state, **known, **{key: value for key, value in said.items() if value}})

    async def _store_event(self, event: NewEvent) -> tuple[int, bool]:
        [accepted] = await self._store.accept([event])
        return accepted.id, accepted.duplicate

    async def _offer(self, event: NewEvent) -> tuple[int, bool]:
        """Without a turn: the text itself goes out, once for each delivery id."""
        key = f"{event.source}:{event.profile}:{event.delivery_id}"
        known = await self._store.outbox_by_key(key)
        rows = await self._store.offer(outbox_rows(event, event.text, key=key, kind="notice"))
        return rows[0].id, known is not None


def _is_foreign(host: str) -> bool:
    """Whether a request to loopback names another host: a page's, which made its name lead here (DNS rebinding).

    What a proxy passes on may name one, too: with a signature the name does not matter.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:  # no name of ours, whatever it is
        return True
    return bool(name) and literal(name) is None and not is_loopback_host(name)


def _said(status: int, body: dict[str, object]) -> Response:
    return Response(status, msgspec.json.encode(body))


def _check_open(route: _Route, request: Request) -> None:
    if not route.config.enabled:
        raise _Rejected(json_response(403, error="the route is disabled"), "disabled")
    if route.secret in PLACEHOLDER_SECRETS:
        logger.warning("webhook %s of %s is refused: the route has no secret", route.name, route.profile)
        raise _Rejected(json_response(403, error="the route has no secret"), "disabled")
    if "origin" in request.headers or request.headers.get("sec-fetch-site") not in {"", "none"}:
        raise _Rejected(json_response(403, error="pages in a browser may not post here"), "origin")


def _limit(route: _Route) -> None:
    wait_s = route.bucket.take()
    if wait_s:
        headers = {"retry-after": str(max(1, round(wait_s + 0.5)))}
        raise _Rejected(json_response(429, headers=headers, error="too many requests"), "rate")


async def _delivery(route: _Route, request: Request, body: bytes, verdict: Verdict) -> _Delivery:
    """What an authenticated request delivers, unless it is not to be taken."""
    headers = request.headers
    try:
        payload = payload_of(headers, body)
        wait_s = wanted_wait_s(request.query)
    except ValueError as error:
        raise _Rejected(json_response(400, error=str(error)), "body") from None
    if wait_s and route.config.deliver_only:
        said = "this route delivers without an agent, so there is no answer to wait for; leave out wait="
        raise _Rejected(json_response(400, error=said), "body")
    if verdict.scheme == "slack" and payload.get("type") == "url_verification":
        raise _Rejected(json_response(200, challenge=payload.get("challenge")))
    event_type = event_type_of(headers, payload, verdict)
    if route.config.events and event_type not in route.config.events:
        raise _Rejected(json_response(200, status="ignored", reason="event", event=event_type), "ignored")
    if route.filters.tests and (refusal := await _refusal(route.filters, payload, event_type, headers)):
        raise _Rejected(json_response(200, status="ignored", reason="filter", filter=refusal), "ignored")
    return _Delivery(
        route=route,
        payload=payload,
        event_type=event_type,
        delivery_id=delivery_id_of(headers, body, verdict, payload),
        wait_s=wait_s,
        plain=wait_s > 0 and headers.get("accept").partition(",")[0].partition(";")[0].strip().lower() == "text/plain",
    )


async def _refusal(filters: Filters, payload: dict[str, object], event_type: str, headers: Headers) -> str:
    files = await trio.to_thread.run_sync(read_files, filters.files, limiter=FILE_THREADS) if filters.files else {}
    return filters.refusal(Seen(payload, event_type, headers, files))


def _event(delivery: _Delivery, *, skills: str) -> NewEvent:
    route, config = delivery.route, delivery.route.config
    key = f"agent:{route.profile}:webhook:dm:{route.name}"
    places, missing = route.places.for_event(delivery.payload, delivery.event_type)
    if missing:
        logger.warning("webhook %s of %s: %s", route.name, route.profile, missing)
    address, meta = with_places(places)
    wanted = {
        "event_type": delivery.event_type,
        INSTRUCTIONS: skills,
        "use_model": config.model,
        "use_provider": config.provider,
        "use_toolsets": ",".join(config.toolsets),
    }
    return NewEvent(
        profile=route.profile,
        source=f"webhook:{route.name}",
        delivery_id=delivery.delivery_id,
        session_key=key if config.session == "route" else f"{key}:{delivery.delivery_id}",
        text=render(config.prompt, delivery.payload, event_type=delivery.event_type),
        address=address,
        sender=f"webhook:{route.name}",
        untrusted=True,
        meta=meta | {name: value for name, value in wanted.items() if value},
    )


async def _skills(route: _Route) -> str:
    """The texts of its skills. A missing one does not cost the event: it is said, to the agent as well."""
    profile = Profile(route.profile, route.root)
    text, errors = await trio.to_thread.run_sync(read_usable, route.config.skills, profile, limiter=FILE_THREADS)
    for error in errors:
        logger.warning("webhook %s of %s goes without a skill: %s", route.name, route.profile, error)
    return text

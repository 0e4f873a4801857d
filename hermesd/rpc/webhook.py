"""Webhook routes as the wire shows them: from the configuration in force and what was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import NotFoundError
from hermesd.rpc.wire_webhook import WebhooksResult, WebhookView

if TYPE_CHECKING:
    from hermesd.config.schema import WebhookConfig
    from hermesd.rpc.context import Daemon
    from hermesd.triggers.webhook_counters import Counters


async def listing(daemon: Daemon, profile: str) -> WebhooksResult:
    """In the order of their names."""
    settings = daemon.settings(profile)
    name, config = settings.profile.name, settings.config.platforms.webhook
    counted = await _counters(daemon, name)
    return WebhooksResult(
        routes=[_view(name, config, route, counted.get(route)) for route in sorted(config.routes)],
        listening=daemon.webhooks.in_force(name),
    )


async def one(daemon: Daemon, name: str, profile: str) -> WebhookView:
    """One route; raises NotFoundError."""
    settings = daemon.settings(profile)
    config = settings.config.platforms.webhook
    if name not in config.routes:
        known = ", ".join(sorted(config.routes)) or "none; make one with `hermesctl webhook subscribe NAME`"
        raise NotFoundError(f"there is no webhook {name[:80]!r}", next_step=f"there are: {known}")
    counted = await _counters(daemon, settings.profile.name)
    return _view(settings.profile.name, config, name, counted.get(name))


async def _counters(daemon: Daemon, profile: str) -> dict[str, Counters]:
    """As they stand; as they were written down, of a profile whose routes are not answered."""
    from hermesd.triggers.webhook_counters import from_rows

    live = daemon.webhooks.counters(profile)
    return live if live is not None else from_rows(await daemon.store.webhooks.listing(profile))


def _view(profile: str, config: WebhookConfig, name: str, counted: Counters | None) -> WebhookView:
    from hermesd.triggers.samples import url_of

    route = config.routes[name]
    view = WebhookView(
        name=name,
        profile=profile,
        url=url_of(profile, config, name),
        enabled=config.enabled and route.enabled,
        scheme=route.scheme,
        deliver=route.deliver,
        has_secret=bool(route.secret or config.secret),
        description=route.description,
        prompt=route.prompt,
        events=route.events,
        filters=route.filters,
        skills=route.skills,
        deliver_only=route.deliver_only,
        deliver_extra=route.deliver_extra,
    )
    for field in counted.__struct_fields__ if counted is not None else ():
        setattr(view, field, getattr(counted, field))
    return view

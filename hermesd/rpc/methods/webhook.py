"""``webhook.*``: routes and what became of their requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.errors import NotFoundError
from hermesd.rpc.routes import fast
from hermesd.rpc.wire import ProfileParams
from hermesd.rpc.wire_webhook import WebhookParams, WebhooksResult, WebhookView

if TYPE_CHECKING:
    from hermesd.config.schema import WebhookConfig
    from hermesd.rpc.calls import Caller


@fast("webhook.list")
def list_routes(caller: Caller, params: ProfileParams) -> WebhooksResult:
    """In the order of their names."""
    settings = caller.daemon.settings(params.profile)
    profile, config = settings.profile.name, settings.config.platforms.webhook
    return WebhooksResult(
        routes=[_view(caller, profile, config, name) for name in sorted(config.routes)],
        listening=caller.daemon.webhooks.in_force(profile),
    )


@fast("webhook.show")
def show(caller: Caller, params: WebhookParams) -> WebhookView:
    """One route."""
    settings = caller.daemon.settings(params.profile)
    config = settings.config.platforms.webhook
    if params.name not in config.routes:
        known = ", ".join(sorted(config.routes)) or "none; make one with `hermesctl webhook subscribe NAME`"
        raise NotFoundError(f"there is no webhook {params.name[:80]!r}", next_step=f"there are: {known}")
    return _view(caller, settings.profile.name, config, params.name)


def _view(caller: Caller, profile: str, config: WebhookConfig, name: str) -> WebhookView:
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
        skills=route.skills,
        deliver_only=route.deliver_only,
    )
    counters = caller.daemon.webhooks.counters(profile, name)
    if counters is not None:
        for field in counters.__struct_fields__:
            setattr(view, field, getattr(counters, field))
    return view

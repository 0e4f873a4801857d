"""The webhook platform of a profile: its routes are answered while this service runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.supervision.service import ServiceSpec
from hermesd.triggers.deliver import homes

if TYPE_CHECKING:
    import trio

    from hermesd.gateway.platforms import Wiring


def spec(wiring: Wiring) -> ServiceSpec:
    """The service ``webhook``; its tree line says where it listens."""

    def detail() -> str:
        config = wiring.settings().config.platforms.webhook
        count = len(config.routes)
        return f"{count} route{'' if count == 1 else 's'} on {config.host}:{config.port}"

    return ServiceSpec("webhook", lambda: WebhookRoutes(wiring), detail=detail)


async def reconfigure(wiring: Wiring) -> bool:
    """Swap the routes while requests go on being answered."""
    settings = wiring.settings()
    config = settings.config.platforms.webhook
    wiring.http.webhooks.set_profile(
        settings.profile.name,
        config,
        homes=homes(settings.config.platforms),
        root=settings.profile.root,
    )
    await wiring.http.webhooks.counters.read(settings.profile.name, config.routes)
    await wiring.http.ensure(config.host, config.port)
    return True


class WebhookRoutes:
    """Puts the profile's routes in force, and keeps their counters; a successor replaces them without a gap."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Raises ConfigError for a route that cannot be served."""
        webhooks = self._wiring.http.webhooks
        profile = self._wiring.settings().profile.name
        try:
            await reconfigure(self._wiring)
            task_status.started()
            await webhooks.counters.keep(profile)
        finally:
            webhooks.remove_profile(profile)

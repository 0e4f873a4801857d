"""The HTTP listeners that profiles ask for: made when the first webhook needs one, gone when none does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.supervision.service import ServiceSpec

if TYPE_CHECKING:
    from hermesd.store.protocol import Store
    from hermesd.supervision.supervisor import Supervisor
    from hermesd.triggers.webhook import Webhooks
    from hermesd.triggers.webhook_counters import Counters
    from hermesd.web.message import Request, Response

GROUP = 3
"""HTTP stops before the profiles do: nothing new comes in while they drain."""


class HttpFront:
    """Listeners by (host, port), all serving the webhooks of all profiles."""

    def __init__(self, root: Supervisor, store: Store) -> None:
        self._root = root
        self._store = store
        self._webhooks: Webhooks | None = None
        self._listeners: dict[tuple[str, int], str] = {}

    @property
    def webhooks(self) -> Webhooks:
        """The routes of all profiles."""
        if self._webhooks is None:
            from hermesd.triggers.webhook import Webhooks

            self._webhooks = Webhooks(self._store)
        return self._webhooks

    def counters(self, profile: str) -> dict[str, Counters] | None:
        """Counters by route; None for a profile whose webhooks have not been in force since the start."""
        return self._webhooks.counters.known(profile) if self._webhooks is not None else None

    def in_force(self, profile: str) -> bool:
        """Whether a profile's routes are answered."""
        return self._webhooks is not None and self._webhooks.has(profile)

    async def ensure(self, host: str, port: int) -> None:
        """Make sure that there is a listener; a start that fails shows in the tree, as ``http:PORT``."""
        if (host, port) in self._listeners:
            return
        name = f"http:{port}"
        if name in self._listeners.values():
            name = f"http:{host}:{port}"
        self._listeners[host, port] = name
        await self._root.add(ServiceSpec(name, lambda: self._listener(host, port), group=GROUP))

    async def reconcile(self, wanted: set[tuple[str, int]]) -> None:
        """Remove the listeners that nobody wants any more."""
        for address in set(self._listeners) - wanted:
            await self._root.remove(self._listeners.pop(address))

    def _listener(self, host: str, port: int) -> Listener:
        return Listener(self, host, port)


class Listener:
    """The service behind ``http:PORT``; the HTTP library is imported when it first runs."""

    def __init__(self, front: HttpFront, host: str, port: int) -> None:
        from hermesd.web.ingress import Ingress
        from hermesd.web.message import json_response

        async def health(_request: Request) -> Response:
            return json_response(200, status="ok", platform="webhook")

        self._front = front
        self._ingress = Ingress(host, port)
        self._ingress.add_route("GET", "/health", health)
        for prefix in front.webhooks.PREFIXES:
            self._ingress.add_route("POST", prefix, front.webhooks.handle)
        self.run = self._ingress.run

    async def drain(self) -> None:
        """Finish what is under way; those who wait for an answer are told that it is not there yet."""
        with self._front.webhooks.waiting.closed():
            await self._ingress.drain()

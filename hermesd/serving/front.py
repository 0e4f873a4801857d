"""Whether the endpoint is in the tree: the default profile's configuration says so, at boot and after each reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from hermesd.supervision.policy import Policy
from hermesd.supervision.service import ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.config.schema import McpServeConfig
    from hermesd.serving.endpoint import Endpoint, StoppableBackend
    from hermesd.supervision.supervisor import Supervisor

NAME = "mcp-endpoint"
GROUP = 3
"""It stops with the other listeners, before the profiles do."""
DRAIN_S = 3.0


class McpFront:
    """Adds and removes the service. Nothing of it is imported while it is switched off."""

    def __init__(self, root: Supervisor, backend: Callable[[], StoppableBackend]) -> None:
        self._root = root
        self._backend = backend
        self._config: McpServeConfig | None = None
        self._endpoint: Endpoint | None = None
        self._applying = trio.Lock()

    async def apply(self, config: McpServeConfig) -> None:
        """Have what the configuration says; any change of it is a new start. A start that fails shows in the tree."""
        wanted = config if config.enabled else None
        async with self._applying:  # a changed file and a person's reload may come together
            if wanted == self._config:
                return
            if self._config is not None:
                await self._root.remove(NAME)
            self._config, self._endpoint = wanted, None
            if wanted is not None:
                spec = ServiceSpec(NAME, self._new, policy=Policy(drain_s=DRAIN_S), group=GROUP, detail=self._detail)
                await self._root.add(spec)

    def _new(self) -> Endpoint:
        from hermesd.serving.endpoint import Endpoint

        assert self._config is not None
        self._endpoint = Endpoint(self._config, self._backend)
        return self._endpoint

    def _detail(self) -> str:
        return self._endpoint.detail if self._endpoint else ""

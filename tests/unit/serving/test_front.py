"""Whether the endpoint is in the tree, whatever comes at the same time."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing

from hermesd.config.schema import McpServeConfig
from hermesd.serving.front import McpFront
from hermesd.supervision.supervisor import Supervisor

ONE = McpServeConfig(enabled=True, token="0123456789abcdef")
TWO = McpServeConfig(enabled=True, token="fedcba9876543210")
OFF = McpServeConfig()


class Standing:
    """A service that takes a moment to come and to go."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(0.01)
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(0.01, shield=True):
                await trio.sleep_forever()


class Front(McpFront):
    """With that in place of the endpoint; ``made`` counts its starts."""

    made = 0

    def _new(self) -> Any:
        self.made += 1
        return Standing()


async def test_two_reloads_at_the_same_time_make_one_change(autojump_clock: trio.testing.MockClock) -> None:
    """A file that changed, and a person who says so."""
    async with trio.open_nursery() as nursery:
        root = Supervisor("root")
        await nursery.start(root.run)
        front = Front(root, lambda: None)  # never asked for one
        for config, made in ((ONE, 1), (ONE, 1), (TWO, 2), (OFF, 2), (ONE, 3)):
            async with trio.open_nursery() as both:
                both.start_soon(front.apply, config)
                both.start_soon(front.apply, config)
            assert front.made == made
            assert ("mcp-endpoint" in root.child_states()) == config.enabled
        await root.shutdown(0.0)
        nursery.cancel_scope.cancel()

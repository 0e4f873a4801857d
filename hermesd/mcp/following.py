"""Keeps a server's list of tools as it is now: notifications, and what to do where they may have been missed.

Up to 2025-11-25 ``notifications/tools/list_changed`` comes on the session, over HTTP on the stream of a GET that the
server may break or never offer (Transports, Listening for Messages from the Server). From 2026-07-28 it comes on the
stream of ``subscriptions/listen``, over every transport. Nothing is sent again in either case.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from hermesd.mcp.session import list_tools

if TYPE_CHECKING:
    from mcp import ClientSession

    from hermesd.mcp.link import Link
    from hermesd.mcp.server import McpServer

COALESCE_S = 0.3
POLL_S = 45.0
LISTEN_FLOOR_S = 1.0
LISTEN_CAP_S = 30.0
ACKNOWLEDGE_S = 10.0
MAX_LOGGED = 2000  # characters


class Following:
    """For one session. ``hear`` is the session's message handler, ``run`` works while it serves."""

    def __init__(self, server: McpServer) -> None:
        self._server = server
        self._stale = trio.Event()

    async def hear(self, message: object) -> None:
        """A notification of the server; async because the SDK awaits it."""
        if getattr(message, "method", "") == "notifications/tools/list_changed":
            self._stale.set()

    async def learn(self, session: ClientSession) -> None:
        """List the tools, and tell if they have changed; raises MCPError and ValueError."""
        server = self._server
        tools, faults = await list_tools(session)
        if faults and faults != server.faults:
            server.log.ours("; ".join(faults)[:MAX_LOGGED], level=logging.WARNING)
        if (tools, faults) != (server.tools, server.faults):
            server.tools, server.faults = tools, faults
            server.tell("tools")

    async def run(self, session: ClientSession, link: Link) -> None:
        """List again after a change, once for a burst; until cancelled."""
        from mcp_types.version import MODERN_PROTOCOL_VERSIONS

        async with trio.open_nursery() as nursery:
            if self._says_changes():
                if self._server.era in MODERN_PROTOCOL_VERSIONS:
                    nursery.start_soon(self._listen, session)
                else:
                    nursery.start_soon(self._fill_gaps, link)
            await self._keep_listed(session)

    def _says_changes(self) -> bool:
        tools = self._server.capabilities.get("tools") or {}
        return bool(tools.get("listChanged"))

    async def _keep_listed(self, session: ClientSession) -> None:
        from mcp.shared.exceptions import MCPError

        while True:
            await self._stale.wait()
            await trio.sleep(COALESCE_S)
            self._stale = trio.Event()
            try:
                await self.learn(session)
            except (MCPError, ValueError) as error:
                self._server.log.ours(f"its tools could not be listed again: {str(error)[:200]}")

    async def _fill_gaps(self, link: Link) -> None:
        """Ask, some time after the event stream was interrupted; again and again while there is none."""
        while True:
            await link.gap.wait()
            await trio.sleep(POLL_S)
            if link.hears:
                link.gap = trio.Event()
            self._stale.set()

    async def _listen(self, session: ClientSession) -> None:
        """Subscribe, anew whenever that ends. A server that cannot do it is asked as often as it is tried."""
        from mcp.client.subscriptions import SubscriptionLost, listen
        from mcp.shared.exceptions import MCPError

        wait_s = LISTEN_FLOOR_S
        while True:
            began = trio.current_time()
            try:
                with trio.move_on_after(ACKNOWLEDGE_S) as acknowledged:
                    async with listen(session, tools_list_changed=True) as subscription:
                        acknowledged.deadline = float("inf")
                        async for _ in subscription:
                            self._stale.set()
            except (SubscriptionLost, MCPError) as error:
                self._server.log.ours(f"no word of changes for now: {str(error)[:200]}")
            if trio.current_time() - began > LISTEN_CAP_S:
                wait_s = LISTEN_FLOOR_S
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, LISTEN_CAP_S)
            self._stale.set()

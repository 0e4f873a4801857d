"""An MCP server in memory, for virtual time: it is up or down as told, and counts how often it was started."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import trio


class Pretend:
    """Put ``link`` in the place of ``hermesd.mcp.stdio.stdio_link`` (or ``http_link`` of ``http``).

    ``failure`` decides what a start meets: None (it works), an exception to raise, ``exit`` (it ends during
    initialise) or ``hang`` (it never answers).
    """

    def __init__(self) -> None:
        self.failure: Exception | str | None = None
        self.starts: list[float] = []
        self.lists = 0
        self.live: PretendLink | None = None

    @classmethod
    def instead(cls, monkeypatch: pytest.MonkeyPatch) -> Pretend:
        """One in the place of every server. The SDK is loaded: a thread's work takes no virtual time."""
        from hermesd.mcp import sdk
        from hermesd.mcp.http import usual_context

        sdk._import(sdk.MODULES + sdk.HTTP_MODULES)
        usual_context()
        found = cls()
        monkeypatch.setattr("hermesd.mcp.stdio.stdio_link", found.link)
        monkeypatch.setattr("hermesd.mcp.http.http_link", found.link)
        return found

    @asynccontextmanager
    async def link(self, *_args: object, **_options: object) -> AsyncIterator[PretendLink]:
        self.starts.append(trio.current_time())
        if isinstance(self.failure, Exception):
            raise self.failure
        link = PretendLink(self)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.serve, self.failure)
            self.live = link
            try:
                yield link
            finally:
                self.live = None
                nursery.cancel_scope.cancel()

    def down(self, failure: Exception | str) -> None:
        """From now on; a session that there is ends."""
        self.failure = failure
        if self.live is not None:
            self.live.end("exited with status 9")

    def up(self) -> None:
        self.failure = None


class PretendLink:
    """See ``hermesd.mcp.link.Link``."""

    def __init__(self, world: Pretend) -> None:
        self._world = world
        self._out, self.read = trio.open_memory_channel[Any](100)
        self.write, self._in = trio.open_memory_channel[Any](100)
        self.process = SimpleNamespace(pid=1)
        self.lost, self.gap = trio.Event(), trio.Event()
        self.why, self.abrupt, self.hears = "", False, True
        self.capabilities: dict[str, Any] = {"tools": {"listChanged": True}}

    def words(self) -> list[str]:
        return []

    def end(self, why: str) -> None:
        self.why = why
        self.lost.set()
        self._out.close()

    async def serve(self, failure: object) -> None:
        async for item in self._in:
            if failure == "hang":
                continue
            if failure == "exit":
                self.end("exited with status 3")
                return
            message = item.message.model_dump(by_alias=True)
            if message.get("id") is not None:
                await self._answer(message)

    async def _answer(self, message: dict[str, Any]) -> None:
        from mcp.shared.message import SessionMessage
        from mcp_types import jsonrpc_message_adapter

        params = message.get("params") or {}
        results: dict[str, dict[str, Any]] = {
            "ping": {},
            "initialize": {
                "protocolVersion": params.get("protocolVersion"),
                "capabilities": self.capabilities,
                "serverInfo": {"name": "pretend", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "echo", "inputSchema": {"type": "object"}}]},
            "tools/call": {"content": [{"type": "text", "text": "here"}]},
        }
        self._world.lists += message["method"] == "tools/list"
        answer = {"jsonrpc": "2.0", "id": message["id"], "result": results[message["method"]]}
        await self._out.send(SessionMessage(jsonrpc_message_adapter.validate_python(answer, by_name=False)))

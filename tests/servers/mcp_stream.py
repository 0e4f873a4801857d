"""A streamable HTTP MCP server in the test's own loop, whose event stream can be cut, refused or made to spin.

It counts what reaches it: ``posts`` by method, ``gets``. JSON answers only; one connection for each request.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import trio

SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


class StreamServer:
    """``stream``: open (until ``cut``), refused (405), or spin (``retry: 0``, and closed at once)."""

    def __init__(self, stream: str = "open") -> None:
        self.stream = stream
        self.tools = ["echo"]
        self.posts: Counter[str] = Counter()
        self.gets = 0
        self.changed = trio.Condition()
        self.url = ""
        self._streams: set[trio.SocketStream] = set()

    async def until_gets(self, count: int) -> None:
        async with self.changed:
            while self.gets < count:
                await self.changed.wait()

    async def announce(self) -> None:
        """Say list_changed on every stream that is open."""
        message = json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
        for stream in self._streams:
            await stream.send_all(f"event: message\ndata: {message}\n\n".encode())

    async def cut(self) -> None:
        """Close the event streams."""
        for stream in list(self._streams):
            await stream.aclose()

    async def serve(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async with stream:
                head, body = await _request(stream)
                if head.startswith(b"GET"):
                    await self._listen(stream)
                elif head.startswith(b"POST"):
                    await stream.send_all(self._answer(json.loads(body)))
                else:
                    await stream.send_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")

    async def _listen(self, stream: trio.SocketStream) -> None:
        self.gets += 1
        if self.stream == "refused":
            await stream.send_all(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        elif self.stream == "spin":
            await stream.send_all(SSE + b"retry: 0\nid: 1\nevent: message\ndata: \n\n")
        else:
            self._streams.add(stream)
            await stream.send_all(SSE + b": here\n\n")
        async with self.changed:
            self.changed.notify_all()
        if self.stream == "open":
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await stream.receive_some()
            self._streams.discard(stream)

    def _answer(self, message: dict[str, Any]) -> bytes:
        method, params = message["method"], message.get("params") or {}
        self.posts[method] += 1
        if "id" not in message:
            return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        results: dict[str, dict[str, Any]] = {
            "initialize": {
                "protocolVersion": params.get("protocolVersion"),
                "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "stream", "version": "1"},
            },
            "tools/list": {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in self.tools]},
            "tools/call": {"content": [{"type": "text", "text": "here"}]},
        }
        body = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": results.get(method, {})}).encode()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return f"{head}mcp-session-id: one\r\nconnection: close\r\n\r\n".encode() + body


async def _request(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = await stream.receive_some()
        if not piece:
            raise trio.BrokenResourceError
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        body += await stream.receive_some()
    return head, body


@asynccontextmanager
async def streaming(stream: str = "open") -> AsyncIterator[StreamServer]:
    """A server on a free port while the block runs."""
    server = StreamServer(stream)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, server.serve, 0, host="127.0.0.1"))
        server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/mcp"
        yield server
        nursery.cancel_scope.cancel()

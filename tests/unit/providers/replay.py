"""Recorded HTTP answers on a loopback socket: what an endpoint sent, byte for byte, cut as one likes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import trio

CLOSE = "close"
HANG = "hang"
Part = bytes | str


def response(body: bytes, *, status: str = "200 OK", content_type: str = "text/event-stream", extra: str = "") -> bytes:
    """A whole HTTP/1.1 answer."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


def open_ended(body: bytes) -> bytes:
    """The beginning of an answer whose end is the connection's."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + body


def sse(*events: object) -> bytes:
    """Events with JSON data; bytes stand for themselves."""
    return b"".join(
        b"data: " + (event if isinstance(event, bytes) else msgspec.json.encode(event)) + b"\n\n" for event in events
    )


class Replay:
    """Answers the n-th request with the n-th recording; the last recording answers all later requests."""

    def __init__(self, recordings: list[list[Part]]) -> None:
        self._recordings = recordings
        self.url = ""
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.connections = 0
        self.asked = trio.Event()

    async def handle(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            while await self._receive(stream):
                number = min(len(self.requests), len(self._recordings)) - 1
                for part in self._recordings[number]:
                    if part == CLOSE:
                        return
                    if part == HANG:
                        await trio.sleep_forever()
                    assert isinstance(part, bytes)
                    await stream.send_all(part)
        except trio.BrokenResourceError:
            pass  # the client hung up

    async def _receive(self, stream: trio.SocketStream) -> bool:
        data = b""
        while b"\r\n\r\n" not in data:
            more = await stream.receive_some()
            if not more:
                return False
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(body) < length:
            body += await stream.receive_some()
        self.heads.append(head.decode())
        self.requests.append(msgspec.json.decode(body))
        self.asked.set()
        return True


@asynccontextmanager
async def replay(*recordings: list[Part] | bytes) -> AsyncIterator[Replay]:
    """Serve the recordings until the block ends."""
    server = Replay([part if isinstance(part, list) else [part] for part in recordings])
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        nursery.start_soon(trio.serve_listeners, server.handle, [listener])
        yield server
        nursery.cancel_scope.cancel()

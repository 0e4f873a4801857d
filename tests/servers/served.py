"""An RPC server over a real store, and a client that speaks its wire byte by byte."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import trio

from hermesd.config.schema import RpcConfig
from hermesd.rpc.calls import AuditRecord
from hermesd.rpc.listen import Listener, open_listener
from hermesd.rpc.server import RpcServer
from tests.servers.panel import Panel

Json = dict[str, Any]


@dataclass
class Served:
    """A panel, its server, and what reached the audit log. ``settings`` may be replaced: that is a reload."""

    panel: Panel
    listener: Listener
    nursery: trio.Nursery
    settings: RpcConfig = field(default_factory=RpcConfig)
    audited: list[AuditRecord] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    server: RpcServer = field(init=False)

    def __post_init__(self) -> None:
        self.server = RpcServer(
            self.panel, self.listener, rpc_settings=lambda: self.settings, audit=self.audited.append
        )

    @property
    def path(self) -> Path:
        return self.panel.home.socket_path

    async def connect(self) -> Wire:
        """A further client; it is closed at the end at the latest."""
        wire = Wire(await trio.open_unix_socket(str(self.path)))
        self.wires.append(wire)
        return wire


@contextlib.asynccontextmanager
async def serve(root: Path) -> AsyncIterator[Served]:
    """Store and server as the services they are; everything is closed at the end."""
    panel = Panel.open(root)
    listener = open_listener(panel.home)
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(panel.store.run)
            async with trio.open_nursery() as rpc:
                served = Served(panel, listener, nursery)
                await rpc.start(lambda task_status: served.server.run(task_status=task_status))
                try:
                    yield served
                finally:
                    for wire in served.wires:
                        wire.stream.socket.close()
                rpc.cancel_scope.cancel()
            nursery.cancel_scope.cancel()
    finally:
        listener.close()
        panel.store.close()


class Wire:
    """One connection. JSON unless told otherwise."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = bytearray()
        self._id = 0

    async def send(self, method: str, params: Json | None = None, *, request_id: object = None) -> object:
        """Ask and do not wait; returns the id."""
        self._id += 1
        chosen = self._id if request_id is None else request_id
        message = {"jsonrpc": "2.0", "id": chosen, "method": method, "params": params or {}}
        await self.stream.send_all(json.dumps(message).encode() + b"\n")
        return chosen

    async def message(self) -> Json:
        """The next message; raises EOFError when there is none."""
        with trio.fail_after(60):
            while (end := self.buffer.find(b"\n")) < 0:
                data = await self.stream.receive_some(65536)
                if not data:
                    raise EOFError(bytes(self.buffer))
                self.buffer += data
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 1]
        return json.loads(line)

    async def call(self, method: str, params: Json | None = None) -> Json:
        """One request and its answer, updates skipped: the whole message."""
        wanted = await self.send(method, params)
        while True:
            message = await self.message()
            if message.get("id") == wanted or message.get("id", 0) is None:
                return message

    async def result(self, method: str, params: Json | None = None) -> Json:
        """The result of a call that must succeed."""
        message = await self.call(method, params)
        assert "result" in message, message
        return message["result"]

    async def error(self, method: str, params: Json | None = None) -> Json:
        """The error of a call that must fail."""
        message = await self.call(method, params)
        assert "error" in message, message
        return message["error"]

    async def packed(self, message: object) -> Json:
        """One msgpack request and its answer."""
        await self.stream.send_all(pack(message))
        return await self.unpack()

    async def unpack(self) -> Json:
        """The next msgpack message."""
        with trio.fail_after(60):
            while len(self.buffer) < 4 or len(self.buffer) < 4 + int.from_bytes(self.buffer[:4], "big"):
                data = await self.stream.receive_some(65536)
                if not data:
                    raise EOFError(bytes(self.buffer))
                self.buffer += data
        end = 4 + int.from_bytes(self.buffer[:4], "big")
        payload = bytes(self.buffer[4:end])
        del self.buffer[:end]
        return msgspec.msgpack.decode(payload)

    async def ended(self) -> bool:
        """Whether the server has closed the connection; waits for it."""
        try:
            with trio.fail_after(60):
                while await self.stream.receive_some(65536):
                    pass
        except trio.BrokenResourceError:
            pass
        return True


def pack(message: object) -> bytes:
    """A msgpack frame."""
    payload = msgspec.msgpack.encode(message)
    return len(payload).to_bytes(4, "big") + payload

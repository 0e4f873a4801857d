"""The stdio transport under the SDK's ClientSession: its streams read and write the process's pipes themselves.

Neither tasks nor queues lie between the SDK and the pipes. The SDK's own transport is not used: it notices no death,
leaves grandchildren, and its framing is quadratic without a cap.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.framing import LineFramer
from hermesd.mcp.pace import Pace
from hermesd.mcp.process import EOF_GRACE_S, ServerProcess
from hermesd.mcp.stderr import Stderr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.shared.message import SessionMessage

    from hermesd.mcp.serverlog import ServerLog
    from hermesd.tools.terminal.local import Spawn

READ_BYTES = 64 * 1024
BIG_READ_BYTES = 1024 * 1024
BAD_LINES = 1000
STRAY = "no message on its output: "
"""Before what a server says for people where it should speak MCP."""
MESSAGES_A_SECOND = (
    500  # one costs the loop about 0.1 ms; who says more, for longer than a burst, is heard at this speed
)
MESSAGES_BURST_S = 2.0
MESSAGES_SLICE_S = 0.01
EXIT_S = 0.02

Piece = bytes | memoryview


class StdioLink:
    """A running server and its two streams; see ``Link``."""

    hears = True

    def __init__(self, spawn: Spawn, log: ServerLog, cap: int) -> None:
        self.process = ServerProcess(spawn)
        self.stderr = Stderr(self.process.stderr, log)
        self.lost = trio.Event()
        self.gap = trio.Event()
        self.why = ""
        self.abrupt = False
        self.read = MessageReader(self, cap)
        self.write = MessageWriter(self)

    def words(self) -> list[str]:
        """The last lines of stderr, and the first of its output that was no message."""
        return list(self.stderr.lines)

    def lose(self, why: str) -> None:
        """Note the end, once, and wake whoever reads."""
        if not self.lost.is_set():
            self.why = why
            self.lost.set()

    async def watch(self) -> None:
        """See the process die at once, whatever else holds its pipes open."""
        await self.process.exited()
        self.lose(self.process.how_it_ended())
        self.stderr.read_rest()
        self.process.close(self.process.stdin)
        self.read.stop_waiting()


class _Stream:
    """What the SDK expects of both streams besides receive and send."""

    async def aclose(self) -> None:
        """Nothing to do: the process owns the descriptors."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()


class MessageReader(_Stream):
    """Messages of the server, one a line. Ends at the end of output, at death, and at a line above the cap."""

    def __init__(self, link: StdioLink, cap: int) -> None:
        self._link = link
        self._framer = LineFramer(cap)
        self._lines: deque[bytes] = deque()
        self._waiting: trio.CancelScope | None = None
        self._bad = 0
        self._ended = False
        self._is_drained = True
        self._speed = Pace(MESSAGES_A_SECOND, burst_s=MESSAGES_BURST_S, slice_s=MESSAGES_SLICE_S)

    def __aiter__(self) -> MessageReader:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> SessionMessage:
        """The next message; raises trio.EndOfChannel at the end. Lines that are no messages are passed over."""
        from mcp.shared.message import SessionMessage
        from mcp_types import jsonrpc_message_adapter

        while True:
            if self._lines:
                await trio.lowlevel.checkpoint()
            while not self._lines:
                await self._fill()
            line = self._lines.popleft()
            await self._pace()
            try:
                return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValueError:
                if not self._bad:
                    self._link.stderr.keep(line, STRAY)
                self._bad += 1
                if self._bad > BAD_LINES:
                    self._end(f"wrote more than {BAD_LINES} lines that are no messages")

    async def _pace(self) -> None:
        """A flood of messages, which costs everybody's time, is held back; until the server is lost."""
        if until := self._speed.take(1):
            with trio.move_on_at(until):
                await self._link.lost.wait()

    def stop_waiting(self) -> None:
        """What is in the pipe is still read; nothing more is waited for."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def _fill(self) -> None:
        """Read one piece, having let others run; raises trio.EndOfChannel."""
        if self._ended:
            raise trio.EndOfChannel
        process = self._link.process
        big = self._framer.held > BIG_READ_BYTES
        size = BIG_READ_BYTES if big else READ_BYTES
        if self._is_drained:
            await self._wait(process.stdout)
        else:
            await trio.lowlevel.checkpoint()
        try:
            piece = os.read(process.stdout, size)
        except BlockingIOError:
            self._is_drained = True
            return
        except OSError:
            piece = b""
        self._is_drained = len(piece) < size
        if not piece:
            with trio.move_on_after(EXIT_S):  # one that is dying closes its output first
                await self._link.lost.wait()
            self._end("closed its output")
        try:
            self._lines.extend(self._framer.feed(piece))
        except McpError as error:
            self._end(error.what)
        if not big and self._framer.held > BIG_READ_BYTES:
            with contextlib.suppress(OSError):  # an unprivileged user may have used up its pipe pages
                fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, BIG_READ_BYTES)

    async def _wait(self, fd: int) -> None:
        """Until there is something to read. After the server's death there may be, but nothing is waited for."""
        if self._link.lost.is_set():
            await trio.lowlevel.checkpoint()
            look = select.poll()
            look.register(fd, select.POLLIN)
            if not look.poll(0):
                self._end("")
            return
        with trio.CancelScope() as self._waiting:
            await trio.lowlevel.wait_readable(fd)

    def _end(self, why: str) -> None:
        self._ended = True
        self._link.lose(why)
        raise trio.EndOfChannel


class MessageWriter(_Stream):
    """Messages to the server. A message that a cancellation cut short is completed before the next one."""

    def __init__(self, link: StdioLink) -> None:
        self._link = link
        self._lock = trio.Lock()
        self._rest: Piece = b""

    async def aclose(self) -> None:
        """Give the server the end of its input; blocked senders get anyio.BrokenResourceError."""
        self._link.process.close(self._link.process.stdin)

    async def send(self, item: SessionMessage) -> None:
        """Write one message; raises anyio.BrokenResourceError when the server is gone."""
        import anyio

        data = memoryview(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
        async with self._lock:
            if self._link.lost.is_set():
                raise anyio.BrokenResourceError
            try:
                while self._rest:
                    self._rest = await self._write(self._rest)
                left = await self._write(data)
                while left:
                    self._rest = left
                    left = await self._write(left)
                self._rest = b""
            except (OSError, trio.ClosedResourceError):
                raise anyio.BrokenResourceError from None

    async def _write(self, data: Piece) -> Piece:
        """Write what fits, waiting for room; returns what is left."""
        fd = self._link.process.stdin
        while True:
            if fd not in self._link.process.open_ends:
                raise OSError(errno.EBADF, "closed")
            try:
                written = os.write(fd, data)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(fd)
            else:
                return data[written:]


@asynccontextmanager
async def stdio_link(spawn: Spawn, *, log: ServerLog, cap: int) -> AsyncIterator[Any]:
    """A server started by ``spawn`` for as long as the body runs; raises OSError when it cannot be started.

    On the way out everything it started is ended, whatever it ignores, within 5 s.
    """
    link = StdioLink(spawn, log, cap)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.watch)
            nursery.start_soon(link.stderr.run)
            try:
                yield link
            finally:
                nursery.cancel_scope.cancel()
    finally:
        await link.process.end(grace_s=0.0 if link.abrupt or link.why else EOF_GRACE_S)

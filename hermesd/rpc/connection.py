"""One client: read, check, call, answer.

The connection's task reads whatever is there without waiting first, answers every fast request of it in one send, and
gives each slow one a task of its own. What is read, what is under way and what waits to be sent are all bounded; a
client that does not read stops being read.
"""

from __future__ import annotations

import logging
import select
from typing import TYPE_CHECKING

import trio

from hermesd.errors import DeniedError, HermesError
from hermesd.rpc.calls import AuditRecord, Caller, LaggedError, Stream
from hermesd.rpc.codec import FrameDecoder, FrameError, Notification, failure
from hermesd.rpc.invoke import Call, call_fast, call_slow, decode_params, permit, stopping
from hermesd.rpc.outgoing import Outgoing
from hermesd.rpc.wire import ChatUpdate, EventNotification, LogNotification, McpLoginUpdate

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from hermesd.rpc.codec import Encoding, Request
    from hermesd.rpc.peer import Peer
    from hermesd.rpc.shared import Shared
    from hermesd.rpc.wire import Result, Role

UPDATE_NAMES: dict[type[Result], str] = {
    ChatUpdate: "chat.update",
    EventNotification: "events.event",
    LogNotification: "logs.line",
    McpLoginUpdate: "mcp.login_update",
}

RECEIVE_BYTES = 64 * 1024
SECTION_FRAMES = 64
"""After so many frames everybody else gets a turn, whatever more there is to read."""

MAX_IN_FLIGHT = 256
MAX_RUNNING = 16
"""Slow calls of one connection that run at the same time: each may hold a large result until the client reads."""

MAX_PENDING_BYTES = 1024 * 1024
SEND_PATIENCE_S = 30.0
LAST_WORDS_S = 1.0

DELIVERED_S = 5.0

logger = logging.getLogger("hermesd.rpc")


class Connection:
    """A connected client; ``serve`` is its life."""

    __slots__ = (
        "_caller",
        "_decoder",
        "_flushing",
        "_in_flight",
        "_is_closing",
        "_is_waiting",
        "_nursery",
        "_running",
        "_shared",
        "_socket",
        "_woken",
        "out",
    )

    def __init__(
        self, shared: Shared, connection: socket.socket, peer: Peer, *, encoding: Encoding | None = None
    ) -> None:
        self.out = Outgoing(connection)
        self._shared = shared
        self._socket = connection
        self._caller = Caller(shared.daemon, peer)
        self._decoder = FrameDecoder()
        self._decoder.encoding = encoding  # of one that a process before us has accepted
        self._nursery: trio.Nursery | None = None
        self._running: trio.Semaphore | None = None
        self._woken: trio.Event | None = None
        self._in_flight = 0
        self._flushing = False
        self._is_closing = False
        self._is_waiting = False

    @property
    def encoding(self) -> Encoding | None:
        """What the client has chosen; None as long as it has said nothing."""
        return self._decoder.encoding

    @property
    def is_idle(self) -> bool:
        """Whether ``serve`` was cancelled while nothing was under way: another process could go on from here."""
        busy = self._in_flight or self.out.pending_bytes or self._decoder.held_bytes
        return self._is_waiting and not busy and not self._is_closing

    async def serve(self) -> None:
        """Until the client is gone, breaks the protocol, or is no longer permitted. The socket is the caller's."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                await self._read_until_end()
                if self._in_flight and not self._is_closing:
                    await self._finish_calls(nursery)
                if not self.out.try_send():
                    with trio.move_on_after(LAST_WORDS_S):
                        await self.out.flush()
                if nursery.child_tasks:
                    nursery.cancel_scope.cancel(reason="the connection has ended")
        except* OSError as gone:  # only the socket's own: whatever a handler raises becomes an answer
            logger.debug("a client is gone: %s", gone.exceptions[0])

    # -- reading ------------------------------------------------------------------------------------------------

    async def _read_until_end(self) -> None:
        unyielded = 0
        while not self._is_closing:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except BlockingIOError:
                self._is_waiting = True
                await trio.lowlevel.wait_readable(self._socket)
                self._is_waiting = False
                unyielded = 0
                continue
            frames = self._decoder.feed(data)
            for start in range(0, len(frames), SECTION_FRAMES):
                section = frames[start : start + SECTION_FRAMES]
                await self._answer(section)
                unyielded += len(section)
                if unyielded >= SECTION_FRAMES:
                    await trio.lowlevel.checkpoint()
                    unyielded = 0
            if not data:
                self._decoder.close()
            if self._decoder.error is not None:
                self._break_off(self._decoder.error)
            if not data:
                return

    async def _answer(self, frames: Sequence[bytes]) -> None:
        """Answer a section. Nothing is awaited between finding the role and using it: no reload comes between."""
        while self._in_flight > MAX_IN_FLIGHT - SECTION_FRAMES:
            await self._wait_for_a_call_to_end()
        uid = self._caller.peer.uid
        try:
            role = self._shared.roles.role_of(uid)
        except LookupError:
            role = await self._shared.roles.resolve(uid)
        encoding = self._decoder.answers_in
        for frame in frames:
            if self._is_closing:
                break
            try:
                self._take(encoding, encoding.request(frame), role)
            except FrameError as error:
                self._break_off(error)
        if not self.out.try_send():
            await self.out.flush()

    def _break_off(self, error: FrameError) -> None:
        self.out.write(self._decoder.answers_in.frame(failure(None, error)))
        self._is_closing = True

    # -- calling ------------------------------------------------------------------------------------------------

    def _take(self, encoding: Encoding, request: Request, role: Role | None) -> None:
        caller = self._caller
        try:
            route = permit(self._shared.routes, request, role, caller.peer.uid)
            params = decode_params(route, request, encoding)
        except FrameError:
            raise
        except HermesError as error:
            if isinstance(error, DeniedError):
                self._denied(request, role)
            self.out.write(encoding.frame(failure(request.id, error)))
            return
        caller.role = role or "read"
        call = Call(route, params, request.id, encoding, caller)
        if route.method.mutating:
            self._shared.audit(call.audited("allowed"))
        if route.kind == "fast":
            self.out.write(call_fast(call, self._shared.audit_failure))
        elif self._shared.is_stopping:
            self.out.write(call.failure(stopping("ask again after the restart")))
        else:
            self._start(call)

    def _denied(self, request: Request, role: Role | None) -> None:
        peer = self._caller.peer
        self._shared.audit(
            AuditRecord(method=request.method, uid=peer.uid, pid=peer.pid, role=role or "", outcome="denied")
        )
        self._is_closing = role is None

    def _start(self, call: Call) -> None:
        assert self._nursery is not None
        self._in_flight += 1
        self._shared.call_started()
        self._nursery.start_soon(self._run_stream if call.route.kind == "stream" else self._run_slow, call)

    def _ended(self) -> None:
        self._in_flight -= 1
        self._shared.call_ended()
        if self._woken is not None:
            self._woken.set()

    async def _wait_for_a_call_to_end(self) -> None:
        self._woken = trio.Event()
        await self._woken.wait()

    async def _run_slow(self, call: Call) -> None:
        if self._running is None:
            self._running = trio.Semaphore(MAX_RUNNING)
        try:
            async with self._running:
                running = call.route.handler(call.caller, call.params)
                self.out.write(await call_slow(call, running, self._shared.audit_failure))
                await self.out.flush()
        finally:
            self._ended()

    async def _run_stream(self, call: Call) -> None:
        stream = LiveStream(self, call)
        try:
            self._shared.streams.add(stream)
            await stream.run(self._shared)
        finally:
            self._shared.streams.discard(stream)
            self._ended()

    def kick(self) -> None:
        """See to it that what has been written goes out, without waiting for it here."""
        if not self._flushing and self._nursery is not None:
            self._flushing = True
            self._nursery.start_soon(self._flush)

    async def _flush(self) -> None:
        try:
            await self.out.flush()
        finally:
            self._flushing = False

    # -- the end ------------------------------------------------------------------------------------------------

    async def _finish_calls(self, nursery: trio.Nursery) -> None:
        """The client has sent all it will: it still gets its answers, unless it is gone altogether."""
        nursery.start_soon(self._cancel_at_hangup, nursery.cancel_scope)
        while self._in_flight:
            await self._wait_for_a_call_to_end()

    async def _cancel_at_hangup(self, scope: trio.CancelScope) -> None:
        """After a half-close the socket is readable for good; only EPOLLHUP says that the other half is closed too."""
        with select.epoll() as hangup:
            hangup.register(self._socket, 0)
            await trio.lowlevel.wait_readable(hangup.fileno())
        scope.cancel(reason="the client is gone")


class LiveStream(Stream):
    """A stream under way: it can be cut, and then says why to its client."""

    __slots__ = ("_call", "_connection", "_cut", "_scope")

    def __init__(self, connection: Connection, call: Call) -> None:
        super().__init__(call.request_id)
        self._connection = connection
        self._call = call
        self._scope = trio.CancelScope()
        self._cut: HermesError | None = None

    async def run(self, shared: Shared) -> None:
        """Run the handler and answer; ``delivered`` follows only a result that went out whole."""
        call, out = self._call, self._connection.out
        frame = b""
        with self._scope:
            frame = await call_slow(call, call.route.handler(call.caller, call.params, self), shared.audit_failure)
        out.write(call.failure(self._cut) if self._cut is not None else frame)
        await out.flush()
        if self._cut is None and self.delivered is not None:
            try:
                with trio.move_on_after(DELIVERED_S, shield=True):  # the client may leave at once: it has its answer
                    await self.delivered()
            except HermesError as error:
                logger.warning("%s: what follows its answer failed: %s", call.route.method.name, error)

    def cut(self, error: HermesError) -> None:
        """End the stream with an error, from outside."""
        if self._cut is None:
            self._cut = error
            self._scope.cancel(reason=error.what)

    def cut_for_stop(self) -> None:
        """End the stream because the daemon stops."""
        self.cut(stopping(self.resume))

    def offer(self, update: Result) -> None:
        """See Stream."""
        if self._cut is not None:
            return
        out = self._connection.out
        if out.pending_bytes > MAX_PENDING_BYTES and not out.try_send():
            self._lag()
            return
        self._write(update)
        self._connection.kick()

    async def send(self, update: Result) -> None:
        """See Stream. A client that makes no room for SEND_PATIENCE_S has lagged, too."""
        self._write(update)
        if self._connection.out.try_send():
            return
        with trio.move_on_after(SEND_PATIENCE_S) as patience:
            await self._connection.out.flush()
        if patience.cancelled_caught:
            self._lag()
            await trio.lowlevel.checkpoint()

    def _lag(self) -> None:
        name = self._call.route.method.name
        self.cut(LaggedError("the client does not read its stream", where=name, next_step=self.resume))

    def _write(self, update: Result) -> None:
        method = self._call.route.method
        assert method.update is not None
        name = UPDATE_NAMES[method.update]
        self._connection.out.write(self._call.encoding.frame(Notification(method=name, params=update)))

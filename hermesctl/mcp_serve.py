"""``hermesctl mcp serve``: the daemon as an MCP server on stdin and stdout, for agents that start their servers.

It holds no state and no connection: each call of a tool is a call on the daemon's socket, so the daemon may come and
go meanwhile. Standard output carries the protocol and nothing else.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from hermesd.errors import DeniedError, UnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import trio

    from hermesctl.context import Context
    from hermesd.home import Home

CALL_S = 30.0
"""An answer of the daemon takes at most this long, but for streams."""

CONNECT_S = 5.0
RECEIVE_BYTES = 64 * 1024
STREAMS = frozenset({"chat.send"})


def run(context: Context) -> int:
    """Serve until the end of the input or of the reader. Returns 0; raises UsageError without either."""
    import logging
    import signal
    import sys

    import trio

    if sys.stdin is None or sys.stdout is None:  # as the interpreter has it of a descriptor that was closed
        raise UsageError(
            "standard input or output is closed, and the protocol is spoken over them",
            where="mcp serve",
            next_step="have an agent start it, with a pipe on each",
        )

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="hermesctl mcp serve: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a thread waits for input: it could not be told to end, nor need it
    try:
        trio.run(_serve, context.home, context.profile)
    except* BrokenPipeError:
        pass  # whoever read us has left
    return 0


async def _serve(home: Home, profile: str) -> None:
    from mcp.server.stdio import stdio_server

    from hermesctl.mcp_serve_end import Unanswered
    from hermesd.serving.catalog import offered
    from hermesd.serving.protocol import build

    server = build(offered(), SocketBackend(home), profile=profile)
    async with stdio_server() as (received, sent):
        requests = Unanswered(received, sent)
        await server.run(requests.reading, requests.writing, server.create_initialization_options())


class SocketBackend:
    """RPC by the daemon's socket, a connection for each call (``serving.backend.Backend``)."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def call(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:  # JSON
        """One call. Raises HermesError; UnreachableError when no daemon answers, with what to do."""
        import trio

        from hermesctl.client import MAX_FRAME_BYTES

        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": dict(params)}
        frame = json.dumps(request).encode() + b"\n"
        if len(frame) > MAX_FRAME_BYTES:
            raise UsageError("the request is too large", where=method, next_step="send less at a time")
        stream = await self._connect()
        try:
            with trio.fail_after(float("inf") if method in STREAMS else CALL_S):
                await stream.send_all(frame)
                return await _answer(stream)
        except trio.TooSlowError:
            raise self._away(f"no answer within {CALL_S:g} s") from None
        except (trio.BrokenResourceError, EOFError):
            raise self._away("the connection was lost before the answer") from None
        finally:
            stream.socket.close()

    async def _connect(self) -> trio.SocketStream:
        import trio

        from hermesctl.client import check_server

        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(connection))
            with trio.fail_after(CONNECT_S):
                await stream.socket.connect(str(self._home.socket_path))
            check_server(connection, self._home)
        except trio.TooSlowError:
            connection.close()
            raise self._away("it does not accept") from None
        except OSError as error:
            connection.close()
            raise self._away(error.strerror or str(error)) from None
        except (DeniedError, trio.Cancelled):
            connection.close()
            raise
        return stream

    def _away(self, why: str) -> UnreachableError:
        from hermesctl.context import HOW_TO_START

        return UnreachableError(f"no daemon answers: {why}", where=str(self._home.socket_path), next_step=HOW_TO_START)


async def _answer(stream: trio.SocketStream) -> dict[str, Any]:  # JSON
    """The result of request 1; updates before it are left out. Raises EOFError, and the daemon's error."""
    from hermesctl.client import MAX_FRAME_BYTES, remote_error

    buffer = bytearray()
    searched = 0
    while True:
        while (end := buffer.find(b"\n", searched)) < 0:
            searched = len(buffer)
            data = await stream.receive_some(RECEIVE_BYTES)
            if not data or searched > MAX_FRAME_BYTES:
                raise EOFError
            buffer += data
        message = json.loads(bytes(buffer[:end]))
        del buffer[: end + 1]
        searched = 0
        if "error" in message:
            raise remote_error(message["error"])
        if "result" in message:
            result: dict[str, Any] = message["result"]
            return result

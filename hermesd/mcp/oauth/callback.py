"""Where the browser comes back to: a listener on 127.0.0.1 (RFC 8252 §7.3) that answers one request in the end."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.authorization import NotOursError

if TYPE_CHECKING:
    from types import TracebackType

    from hermesd.mcp.oauth.authorization import AuthorizationRequest

logger = logging.getLogger(__name__)

PATH = "/callback"
MAX_HEAD_BYTES = 32 * 1024
HEAD_S = 10.0
MAX_CONNECTIONS = 16

_PAGE = (
    "<!doctype html><meta charset=utf-8><title>hermesd</title>"
    "<body style='font-family:system-ui;margin:4em auto;max-width:32em'><h1>{title}</h1><p>{text}</p>"
)


class CallbackListener:
    """Open from ``open`` until the block is left. ``port`` is the bound one; ``path`` is taken beside PATH."""

    def __init__(self, port: int = 0, *, path: str = PATH) -> None:
        self._paths = (PATH, path)
        self._socket = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_STREAM)
        self._port = port
        self.port = port

    async def open(self) -> CallbackListener:
        """Bind and listen. Raises OSError when the port is taken."""
        self._socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_REUSEADDR, 1)
        try:
            await self._socket.bind(("127.0.0.1", self._port))
            self._socket.listen(MAX_CONNECTIONS)
        except BaseException:  # Cancelled, too: it goes on, and leaves no socket open
            self._socket.close()
            raise
        self.port = self._socket.getsockname()[1]
        return self

    async def __aenter__(self) -> CallbackListener:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    @property
    def redirect_uri(self) -> str:
        """The URI to register and to ask with."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    async def code_for(self, request: AuthorizationRequest) -> str:
        """Serve until an answer to ``request`` comes; others are turned away. Raises McpError(auth) if it is a no."""
        outcome: list[str | McpError] = []
        busy = 0

        async with trio.open_nursery() as nursery:

            async def serve(stream: trio.SocketStream) -> None:
                nonlocal busy
                busy += 1
                try:
                    found = await _answer(stream, request, self._paths) if busy <= MAX_CONNECTIONS else None
                finally:
                    busy -= 1
                    await trio.aclose_forcefully(stream)
                if found is not None and not outcome:
                    outcome.append(found)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(trio.serve_listeners, serve, [trio.SocketListener(self._socket)])
        if isinstance(outcome[0], McpError):
            raise outcome[0]
        return outcome[0]


async def _answer(
    stream: trio.SocketStream, request: AuthorizationRequest, paths: tuple[str, ...]
) -> str | McpError | None:
    """Serve one connection; the code or refusal it brought, None for anything else."""
    with trio.move_on_after(HEAD_S):
        try:
            target = await _read_target(stream)
            path, _, query = target.partition("?")
            if path not in paths:
                await _send(stream, 404, "Not here", "This address only takes the answer of a sign-in.")
                return None
            return await _judge(stream, request, query)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
    return None


async def _judge(stream: trio.SocketStream, request: AuthorizationRequest, query: str) -> str | McpError | None:
    try:
        code = request.code_from(query)
    except NotOursError as error:
        logger.warning("an answer was turned away: %s", error)
        await _send(stream, 400, "Not accepted", "This answer does not belong to the sign-in under way.")
        return None
    except McpError as error:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
            await _send(stream, 400, "Not signed in", "The sign-in was refused. The terminal says why.")
        return error
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
        await _send(stream, 200, "Almost done", "You can close this tab; the terminal says whether it worked.")
    return code


async def _read_target(stream: trio.SocketStream) -> str:
    """The target of a GET request, "" for anything else (RFC 9112 §3); the head is bounded in size and time."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        if len(head) > MAX_HEAD_BYTES:
            return ""
        chunk = await stream.receive_some(4096)
        if not chunk:
            return ""
        head += chunk
    parts = bytes(head).split(b"\r\n", 1)[0].split(b" ")
    if len(parts) != 3 or parts[0] != b"GET" or not parts[2].startswith(b"HTTP/1.") or not parts[1].isascii():
        return ""
    return parts[1].decode()


async def _send(stream: trio.SocketStream, status: int, title: str, text: str) -> None:
    """A page; nothing of the request is repeated in it. A browser that is gone does not matter."""
    body = _PAGE.format(title=title, text=text).encode()
    head = (
        f"HTTP/1.1 {status} {title}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n"
    )
    try:
        await stream.send_all(head.encode() + body)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        logger.debug("the browser closed its connection before the page was sent")

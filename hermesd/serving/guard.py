"""Who may use the endpoint: checks of a request's head, before any of its body is read.

In this order: Host (421), path (404), Origin (403), token (401), then the body's size (413) and time (408) while it is
read. Host and Origin are checked because any web page can make a browser talk to loopback (DNS rebinding; MCP
2025-11-25, basic/transports, Security Warning).
"""

from __future__ import annotations

import hmac
import logging
from typing import TYPE_CHECKING, NamedTuple

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from typing import Any

    from hermesd.config.schema import McpServeConfig

    # ASGI 3 (https://asgi.readthedocs.io/en/latest/specs/main.html): its dictionaries are of any shape
    Scope = MutableMapping[str, Any]
    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    App = Callable[[Scope, Receive, Send], Awaitable[None]]

PATH = "/mcp"
BODY_S = 30.0
"""A body must have arrived within this time."""

TOLD_EVERY_S = 60.0
"""Wrong tokens are logged at most so often: whoever tries many must not fill the log."""

log = logging.getLogger("hermesd.serving")

_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_WILD = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - compared with, not bound to


class Refusal(NamedTuple):
    """An answer instead of the application's."""

    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """An ASGI application in front of another one. ``port`` is the one that is really listened on."""

    def __init__(self, app: App, config: McpServeConfig, port: int) -> None:
        self._app = app
        self._token = config.token.encode()
        self._hosts = _hosts(config, port)
        self._wrong, self._told_at = 0, -TOLD_EVERY_S
        self._origins = {f"{scheme}://{host}" for host in self._hosts for scheme in ("http", "https")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP is turned away."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        refusal = self.refusal(scope)
        if refusal is not None:
            if refusal.status == 401 and _values(scope["headers"], b"authorization"):
                self._tell_of_a_wrong_token(scope)
            await answer(_closing(scope, send), refusal)
            return
        await self._within_time(scope, receive, send)

    def refusal(self, scope: Scope) -> Refusal | None:
        """What is wrong with a request's head, if anything."""
        fields: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = _values(fields, b"host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return Refusal(421, "this host name is not served here; see mcp_serve.allowed_hosts")
        if scope["path"] != PATH:
            return Refusal(404, f"not found; the endpoint is {PATH}")
        for origin in _values(fields, b"origin"):
            if origin.lower().rstrip("/") not in self._origins:
                return Refusal(403, "pages of other sites may not use this")
        if not self._is_authorized(_values(fields, b"authorization")):
            return Refusal(401, "a bearer token is needed", ((b"www-authenticate", b'Bearer realm="hermesd"'),))
        return None

    def _is_authorized(self, given: list[str]) -> bool:
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(" ")
        shown = token.strip(" ").encode("latin-1")
        return scheme.lower() == "bearer" and bool(self._token) and hmac.compare_digest(shown, self._token)

    def _tell_of_a_wrong_token(self, scope: Scope) -> None:
        """That somebody tries, with how many times since it was last told; never what they tried."""
        self._wrong += 1
        now = trio.current_time()
        if now - self._told_at < TOLD_EVERY_S:
            return
        client = (scope.get("client") or ("somewhere",))[0]
        log.warning("a wrong token from %s (%d since the last such line)", client, self._wrong)
        self._wrong, self._told_at = 0, now

    async def _within_time(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bound the time that a body may take; whoever is too slow is told so, if nothing has been said yet."""
        deadline = trio.current_time() + BODY_S
        is_read = has_begun = False
        closing = _closing(scope, send)

        async def receive_in_time() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            with trio.fail_at(deadline):
                message = await receive()
            is_read = not message.get("more_body", False)
            return message

        async def noting_send(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await (send if is_read else closing)(message)

        try:
            await self._app(scope, receive_in_time, noting_send)
        except trio.TooSlowError:
            if is_read or has_begun:
                raise
            await answer(closing, Refusal(408, "the request did not arrive in time"))


async def answer(send: Send, refusal: Refusal) -> None:
    """Send a short text."""
    body = (refusal.text + "\n").encode()
    fields = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refusal.status, "headers": [*fields, *refusal.headers]})
    await send({"type": "http.response.body", "body": body})


def _closing(scope: Scope, send: Send) -> Send:
    """For an answer to a request whose body was not read: the connection ends with it, and the client is told so.

    It would otherwise send its next request on a connection that is being closed (RFC 9112, section 9.6).
    """
    fields = scope["headers"]
    has_body = _values(fields, b"content-length") not in ([], ["0"]) or _values(fields, b"transfer-encoding")
    if not has_body or not scope["http_version"].startswith("1"):  # HTTP/2 knows no such field
        return send

    async def telling(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return telling


def _values(fields: Iterable[tuple[bytes, bytes]], wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in fields if name.lower() == wanted]


def _hosts(config: McpServeConfig, port: int) -> set[str]:
    """What Host may say: the address with its port, the names of loopback, and what the configuration adds."""
    own = [*_LOCAL, *(() if config.host in _WILD else (config.host if ":" not in config.host else f"[{config.host}]",))]
    found = {f"{name}:{port}" for name in own}
    if port == 80:
        found |= set(own)
    for name in config.allowed_hosts:
        found |= {name, f"{name}:{port}"}
    return {name.lower() for name in found}

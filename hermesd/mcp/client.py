"""The HTTP client under the SDK's transports. Imported on first use only: its base class is the HTTP library's."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import httpx2
import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.session import CONTAINED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from hermesd.mcp.errors import McpErrorKind
    from hermesd.mcp.http import HttpLink
    from hermesd.mcp.serverlog import ServerLog

NOTIFY_S = 2.0
LEAVE_S = 1.0
LISTEN_FLOOR_S = 1.0
LISTEN_CAP_S = 30.0
BODY_BYTES = 64 * 1024
ERROR = -32000  # JSON-RPC 2.0, section 5.1: server range
LISTEN_METHOD = b'"subscriptions/listen"'
JSON = "application/json"
OF_THE_BODY = frozenset({"content-encoding", "content-length", "transfer-encoding"})
SESSION_WORDS = ("session", "not initialized")


class ContainedClient(httpx2.AsyncClient):
    """``send`` raises nothing for POST: what fails is answered by a JSON-RPC error that says what happened.

    The data of such an error has ``hermesd: {kind, status, refused}``; refused: the server did not act on the request.
    The legacy transport takes no answers from POST: with ``inject`` errors go into that channel of messages.
    """

    def __init__(self, link: HttpLink, log: ServerLog, *, cap: int, **options: Any) -> None:  # noqa: ANN401 - the base class's own
        """``cap``: bytes of a message; options are the base class's."""
        super().__init__(**options)
        self._cap = cap
        self.link = link
        self.inject: trio.MemorySendChannel[Any] | None = None
        self._log = log
        self._listened_at = -math.inf
        self._listen_wait_s = LISTEN_FLOOR_S
        self._offered = False
        self._posts = 0

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:  # noqa: ANN401 - same
        """As the base class, but see above; GET waits and tries again as long as that may help."""
        if request.method == "POST":
            self._posts += 1
            try:
                await request.aread()  # one that a redirect has made does not hold its body yet
                return await self._answered(request, await self._post(request, options))
            finally:
                self._posts -= 1
        if request.method == "GET":
            return await (self._listen if self.inject is None else self._open)(request, options)
        if not self.link.lost.is_set() and not self.link.abrupt:  # DELETE: the session is given back
            with trio.move_on_after(LEAVE_S):
                return await super().send(request, **options)
        return httpx2.Response(204, request=request)

    # -- POST ----------------------------------------------------------------------------------------------------
    async def _post(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        seconds = NOTIFY_S if _number(request) is None else math.inf
        if LISTEN_METHOD in request.content:  # its answer is a stream on which nothing may happen for days
            request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": None}
        with trio.move_on_after(seconds):
            try:
                response = await super().send(request, **options)
            except McpError as error:
                return self._instead(request, error, status=401 if error.needs_reauth else 503)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                if self._posts == 1:  # others may still be answered
                    self.link.lose(f"cannot be reached ({_text(error)})")
                return self._instead(request, _down(f"the server cannot be reached ({_text(error)})"), refused=True)
            except httpx2.TimeoutException:
                return self._instead(request, McpError("the server did not answer in time", kind="timeout"))
            except httpx2.HTTPError as error:
                return self._instead(
                    request, _down(f"the connection broke ({_text(error)}) while the call was under way")
                )
            return await self._judge(request, response)
        return httpx2.Response(202, request=request)

    async def _answered(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """For the legacy transport: an error becomes a message, because the SDK would stop sending."""
        number = _number(request)
        if self.inject is None or response.status_code < 400:
            return response
        if number is not None:
            from mcp.shared.message import SessionMessage
            from mcp_types import jsonrpc_message_adapter

            said = {**json.loads(await response.aread()), "id": number}
            await self.inject.send(SessionMessage(jsonrpc_message_adapter.validate_python(said, by_name=False)))
        return httpx2.Response(202, request=request)

    async def _judge(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """Pass on what the SDK understands; put into words what it would erase."""
        status = response.status_code
        if status < 400:
            if self._outlive(response):  # silent for as long as a person thinks; the caller's clock bounds it
                request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": None}
            elif response.is_success and response.headers.get("content-type", "").lower().startswith(JSON):
                return await self._whole(request, response)
            return response
        body = await _head(response)
        said = _jsonrpc_error(body)
        if self._session_is_gone(request, status, said):
            self.link.lose("does not know our session any more")
            await response.aclose()
            return self._instead(request, _down("the server does not know our session any more"), status, refused=True)
        await response.aclose()
        if said:
            return httpx2.Response(status, request=request, json={"jsonrpc": "2.0", "id": None, "error": said})
        if status in (401, 403):
            wanted = response.headers.get("www-authenticate", "")[:200]
            error = McpError(f"the server wants authentication (HTTP {status}) {wanted}".rstrip(), kind="auth")
            return self._instead(request, error, status)
        return self._instead(request, _down(f"the server answered HTTP {status}"), status)

    async def _whole(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """An answer with its body, which the SDK would take however long it is."""
        pieces: list[bytes] = []
        left = self._cap
        try:
            async for piece in response.aiter_bytes():
                pieces.append(piece)
                left -= len(piece)
                if left < 0:
                    pieces.clear()
                    await response.aclose()
                    return self._instead(request, _down(f"the server sent a message of more than {self._cap} bytes"))
        except httpx2.TimeoutException:
            return self._instead(request, McpError("the server did not answer in time", kind="timeout"))
        except httpx2.HTTPError as error:
            return self._instead(request, _down(f"the connection broke ({_text(error)}) while the call was under way"))
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in OF_THE_BODY]
        return httpx2.Response(response.status_code, request=request, headers=headers, content=b"".join(pieces))

    @staticmethod
    def _session_is_gone(request: httpx2.Request, status: int, said: dict[str, Any] | None) -> bool:
        """404 by the specification (2025-11-25, Transports, Session Management); widespread servers say 400."""
        if "mcp-session-id" not in request.headers or status not in (400, 404):
            return False
        words = str(said.get("message", "")).lower() if said else ""
        return (status == 404 and not said) or any(word in words for word in SESSION_WORDS)

    @staticmethod
    def _instead(
        request: httpx2.Request, error: McpError, status: int = 503, *, refused: bool = False
    ) -> httpx2.Response:
        data = {CONTAINED: {"kind": error.kind, "status": status, "refused": refused, "next_step": error.next_step}}
        said = {"code": ERROR, "message": error.what, "data": data}
        return httpx2.Response(status, request=request, json={"jsonrpc": "2.0", "id": None, "error": said})

    # -- GET: the server's event stream ----------------------------------------------------------------------------
    async def _listen(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        """Open the stream for as long as it is offered; ever more rarely, whatever ``retry`` says, where it breaks."""
        request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": None}
        if trio.current_time() - self._listened_at > LISTEN_CAP_S:
            self._listen_wait_s = LISTEN_FLOOR_S
        while True:
            await trio.sleep_until(self._listened_at + self._listen_wait_s)
            self._listened_at = trio.current_time()
            self._listen_wait_s = min(2 * self._listen_wait_s, LISTEN_CAP_S)
            try:
                response = await super().send(request, **options)
            except McpError as error:
                self._log.ours(f"no event stream: {error.what}")
                self._deafen()
                continue
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                self.link.lose(f"cannot be reached ({_text(error)})")
                await trio.sleep_forever()
            except httpx2.HTTPError as error:
                self._log.ours(f"no event stream: {_text(error)}")
                self._deafen()
                continue
            if response.status_code == 200:
                self.link.hears = self._offered = self._outlive(response, ends=self._deafen)
                if not self.link.hears:
                    self.link.gap.set()
                return response
            self._deafen()
            await response.aclose()
            if response.status_code in (400, 404) and self._offered:
                self.link.lose("does not know our session any more")
            if response.status_code < 500:  # 405 and the like: it has none
                await trio.sleep_forever()

    async def _open(self, request: httpx2.Request, options: dict[str, Any]) -> httpx2.Response:
        """The legacy transport's stream, which is the session; raises McpError when it cannot be had."""
        request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": None}
        try:
            response = await super().send(request, **options)
        except httpx2.HTTPError as error:
            raise _down(f"the server cannot be reached ({_text(error)})") from None
        if response.status_code >= 400:
            await response.aclose()
            kind: McpErrorKind = "auth" if response.status_code in (401, 403) else "down"
            raise McpError(f"the server answered HTTP {response.status_code}", kind=kind)
        self._outlive(response)
        return response

    def _deafen(self) -> None:
        self.link.hears = False
        self.link.gap.set()

    def _outlive(self, response: httpx2.Response, ends: Callable[[], None] = lambda: None) -> bool:
        """Whether the answer is an event stream; if so, it will end and not raise."""
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            return False
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _Outliving(response.stream, self._log, ends)
        return True


class _Outliving(httpx2.AsyncByteStream):
    """A body that ends instead of raising: to the SDK an event stream that broke has then simply ended."""

    def __init__(self, stream: httpx2.AsyncByteStream, log: ServerLog, ends: Callable[[], None]) -> None:
        self._stream = stream
        self._log = log
        self._ends = ends

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._stream:
                yield piece
        except httpx2.HTTPError as error:
            self._log.ours(f"an event stream broke: {_text(error)}")

    async def aclose(self) -> None:
        self._ends()
        await self._stream.aclose()


def _down(text: str) -> McpError:
    return McpError(text, kind="down")


def _text(error: Exception) -> str:
    return str(error)[:200] or type(error).__name__


def _number(request: httpx2.Request) -> object:
    """The id of the JSON-RPC request in the body; None for notifications and answers."""
    try:
        message = json.loads(request.content)
    except (ValueError, httpx2.RequestNotRead):
        return None
    return message.get("id") if isinstance(message, dict) and "method" in message else None


async def _head(response: httpx2.Response) -> bytes:
    """The beginning of an error's body; nothing when that does not arrive."""
    body = b""
    try:
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > BODY_BYTES:
                break
    except httpx2.HTTPError:
        return b""
    return body


def _jsonrpc_error(body: bytes) -> dict[str, Any] | None:
    """The error object of a JSON-RPC answer, if the body is one."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(error, dict) and isinstance(error.get("code"), int) and isinstance(error.get("message"), str):
        return error
    return None

"""Requests of the OAuth client itself: small JSON documents, in bounded time, from addresses that may be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import msgspec
import trio

from hermesd.mcp.errors import McpError
from hermesd.mcp.oauth.metadata import usable_url, visible
from hermesd.mcp.oauth.ssrf import AddressPolicy, guarded_transport

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    import httpx2

MAX_BODY_BYTES = 256 * 1024
MAX_REDIRECTS = 3
REQUEST_S = 20.0
PROTOCOL_VERSION = "2025-11-25"
MODERN_VERSION = "2026-07-28"
_US = {"name": "hermesd", "version": "0"}

_limiter = trio.CapacityLimiter(2)


class Answer(msgspec.Struct, frozen=True):
    """A response. ``body`` is empty unless it was a JSON object; ``challenges`` are the WWW-Authenticate values.

    ``session``: the MCP session that it began. ``dpop_nonce``: what proofs are to hold from now on (RFC 9449 §8).
    """

    status: int
    body: dict[str, object] = {}
    challenges: tuple[str, ...] = ()
    session: str = ""
    dpop_nonce: str = ""

    @property
    def error(self) -> str:
        """The error code of an OAuth error response (RFC 6749 §5.2), reduced to its published alphabet; else ""."""
        code = self.body.get("error")
        return code if isinstance(code, str) and len(code) <= 64 and code.replace("_", "").isalnum() else ""


class Fetcher:
    """An HTTP client of its own for each exchange: they are rare, and nothing has to be closed afterwards."""

    def __init__(self, policy: AddressPolicy, *, verify: bool | str = True) -> None:
        self._policy = policy
        self._verify = verify
        self._context: ssl.SSLContext | None = None

    async def get(self, url: str) -> Answer:
        """The document at ``url``; redirects are followed to usable URLs, each address checked anew.

        Raises McpError (down, timeout), as ``post_form`` and ``post_json`` do.
        """
        for _ in range(MAX_REDIRECTS + 1):
            answer, target = await self._send("GET", url, headers={"mcp-protocol-version": PROTOCOL_VERSION})
            if not target:
                return answer
            url = target
        return Answer(status=508)

    async def post_form(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """POST a form; a redirect is an answer like any other, for what is sent here is secret."""
        answer, _ = await self._send("POST", url, data=dict(form), headers=dict(headers))
        return answer

    async def post_json(self, url: str, value: object, headers: Mapping[str, str] | None = None) -> Answer:
        """POST a JSON document."""
        headers = {"content-type": "application/json", **(headers or {})}
        answer, _ = await self._send("POST", url, content=msgspec.json.encode(value), headers=headers)
        return answer

    async def probe(self, url: str) -> Answer:
        """How the MCP server answers somebody without a token; bodies are not read.

        Some let everybody introduce themselves and want a token for the next request only, so that is tried too: its
        challenge is the one that says for which scope.
        """
        hello = await self._ask(url, _hello())
        if hello.challenges or hello.status == 401:
            return hello
        if hello.status >= 400:  # perhaps it is of the 2026-07-28 era, which has no introduction
            listed = await self._ask(url, _list_modern(), {"mcp-protocol-version": MODERN_VERSION})
        else:
            session = {"mcp-session-id": hello.session} if hello.session else {}
            headers = {"mcp-protocol-version": PROTOCOL_VERSION, **session}
            await self._ask(url, {"jsonrpc": "2.0", "method": "notifications/initialized"}, headers)
            listed = await self._ask(url, {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers)
            if session:
                await self._send("DELETE", url, headers=headers, read_body=False)
        return listed if listed.challenges or listed.status == 401 else hello

    async def _ask(self, url: str, message: dict[str, object], more: Mapping[str, str] | None = None) -> Answer:
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream", **(more or {})}
        content = msgspec.json.encode(message)
        answer, _ = await self._send("POST", url, content=content, headers=headers, read_body=False)
        return answer

    async def look(self, url: str) -> Answer:
        """Whether a page is there at all: its body is not read and it is not followed anywhere."""
        answer, _ = await self._send("GET", url, headers={"accept": "text/html"}, read_body=False)
        return answer

    async def _send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str],
        data: dict[str, str] | None = None,
        content: bytes | None = None,
        read_body: bool = True,
    ) -> tuple[Answer, str]:
        """One exchange: the answer and, for a GET, where it redirects to."""
        import httpx2

        host = urlsplit(url).netloc.rpartition("@")[2]
        headers = {"accept": "application/json", "accept-encoding": "identity", **headers}
        try:
            with trio.fail_after(REQUEST_S):
                async with (
                    await self._client() as client,
                    client.stream(method, url, headers=headers, data=data, content=content) as response,
                ):
                    body = await _read(response) if read_body else {}
                    challenges = tuple(response.headers.get_list("www-authenticate"))
                    session = visible(response.headers.get("mcp-session-id"), 1024)
                    nonce = visible(response.headers.get("dpop-nonce"), 1024)
                    answer = Answer(response.status_code, body, challenges, session, nonce)
                    location = response.headers.get("location", "") if response.has_redirect_location else ""
        except trio.TooSlowError:
            raise McpError(f"no answer within {REQUEST_S:g} s", kind="timeout", where=host) from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # Only texts of our own are shown: the library's may quote what was sent.
            text = str(error) if isinstance(error, httpx2.ConnectError) else type(error).__name__
            raise McpError(f"the request failed: {text}", kind="down", where=host) from None
        return answer, usable_url(urljoin(url, location)) if method == "GET" and location else ""

    async def _client(self) -> httpx2.AsyncClient:
        import httpx2

        if self._context is None:  # reading the certificate authorities takes 100 ms
            try:
                self._context = await trio.to_thread.run_sync(_tls, self._verify, limiter=_limiter)
            except OSError as error:
                raise McpError(f"the certificates cannot be read: {error.strerror}", kind="down") from None
        transport = guarded_transport(self._policy, verify=self._context)
        return httpx2.AsyncClient(transport=transport, trust_env=False, timeout=REQUEST_S, follow_redirects=False)


def _tls(verify: bool | str) -> ssl.SSLContext:
    """What certificates to believe: the system's authorities, those of a file, or anybody's."""
    import ssl

    import httpx2

    if isinstance(verify, str):
        return ssl.create_default_context(cafile=verify)
    return httpx2.create_ssl_context(verify=verify, trust_env=False)


def _hello() -> dict[str, object]:
    params = {"protocolVersion": PROTOCOL_VERSION, "capabilities": {}, "clientInfo": _US}
    return {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}


def _list_modern() -> dict[str, object]:
    prefix = "io.modelcontextprotocol/"
    meta = {f"{prefix}protocolVersion": MODERN_VERSION, f"{prefix}clientInfo": _US, f"{prefix}clientCapabilities": {}}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}


async def _read(response: httpx2.Response) -> dict[str, object]:
    """The body if it is a JSON object within bounds; empty otherwise."""
    body = bytearray()
    with trio.CancelScope() as reading:  # leaving the loop instead would leave nested generators to the collector
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                reading.cancel()
    if len(body) > MAX_BODY_BYTES:
        return {}
    try:
        found = msgspec.json.decode(bytes(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

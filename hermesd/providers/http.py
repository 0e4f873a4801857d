"""One HTTP endpoint: a request goes out, a stream of events comes back, whatever breaks becomes an AttemptError.

The HTTP library is imported by the first request, in a thread, so a daemon that never asks a model over the network
never loads it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import trio

from hermesd.providers.failures import AttemptError, broken, from_response, malformed, reject_key
from hermesd.providers.streaming import SseEvent, SseParser
from hermesd.proxies import uses_environment_proxy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    import httpx2

MAX_STREAM_BYTES = 64 * 1024 * 1024
"""On the wire a token costs 100 to 300 bytes, so this is an answer of at least 200,000 tokens."""
MAX_WHOLE_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 64 * 1024
DRAIN_S = 0.25
KEEPALIVE_S = 120.0


class Reader(Protocol):
    """What makes sense of the answer; one instance an attempt."""

    def event(self, event: SseEvent) -> bool:
        """Take an event; True when the answer is complete."""

    def whole(self, body: bytes) -> None:
        """Take an answer that came as one JSON document although a stream was asked for."""

    def end(self) -> None:
        """The stream ended before an event completed the answer. Raises AttemptError unless that is acceptable."""


class Endpoint:
    """POSTs JSON to one URL over connections that stay open between turns.

    ``secret`` is the key among the headers, to be cut out of every error text. Proxies: see ``hermesd.proxies``.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        secret: str = "",
        connect_timeout_s: float = 10.0,
        read_timeout_s: float = 120.0,
        max_stream_bytes: int = MAX_STREAM_BYTES,
    ) -> None:
        self.url = url
        self.where = urlsplit(url).netloc.rpartition("@")[2]
        self.secret = secret
        self._headers = {
            **headers,
            "content-type": "application/json",
            "accept": "text/event-stream, application/json",
            "accept-encoding": "identity",
        }
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._max_stream_bytes = max_stream_bytes
        self._opening = trio.CapacityLimiter(1)
        self._client: httpx2.AsyncClient | None = None
        self._closed = False

    async def post(self, body: bytes, reader: Reader) -> None:
        """Send ``body`` and hand the answer to ``reader`` until it is complete.

        Raises AttemptError. A cancelled call closes its connection and leaves the pool as it was.
        """
        client = await self._open()
        import httpx2

        try:
            async with client.stream("POST", self.url, content=body) as response:
                await self._read(response, reader)
        except httpx2.HTTPError as error:
            raise self._explain(error) from None  # its text may hold a header; what matters is in ours
        except httpx2.InvalidURL:
            raise AttemptError(
                "model.base_url is not a URL",
                kind="refused",
                retry=False,
                where=self.where,
                next_step="Write it as https://host/v1",
            ) from None

    async def aclose(self) -> None:
        """Close the connections; a call still under way fails as unavailable. Idempotent."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def _open(self) -> httpx2.AsyncClient:
        if self._client is None and not self._closed:
            tls = await trio.to_thread.run_sync(_load, self.url.startswith("https:"), limiter=self._opening)
            if self._client is None and not self._closed:
                self._client = self._new_client(tls)
        if self._client is None:
            raise AttemptError(
                "the endpoint was closed by a change of configuration",
                kind="unavailable",
                retry=False,
                where=self.where,
                next_step="Nothing to do: the message is kept and asked again later",
            )
        return self._client

    def _new_client(self, tls: ssl.SSLContext) -> httpx2.AsyncClient:
        import httpx2

        if not all(value.isascii() and value.isprintable() for value in self._headers.values()):
            reject_key(self.where)
        read = self._read_timeout_s
        return httpx2.AsyncClient(
            headers=self._headers,
            verify=tls,
            trust_env=uses_environment_proxy(self.url),
            timeout=httpx2.Timeout(connect=self._connect_timeout_s, read=read, write=read, pool=None),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=KEEPALIVE_S),
        )

    async def _read(self, response: httpx2.Response, reader: Reader) -> None:
        if response.status_code != 200:
            body = await self._read_all(response, MAX_ERROR_BYTES)
            raise from_response(
                response.status_code,
                response.headers,
                body[:MAX_ERROR_BYTES],
                where=self.where,
                secret=self.secret,
                now=time.time(),
            )
        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == "text/html":
            raise malformed("the endpoint answered with a web page", where=self.where, retry=False)
        if content_type == "application/json":
            body = await self._read_all(response, MAX_WHOLE_BYTES)
            if len(body) > MAX_WHOLE_BYTES:
                raise self._too_long(MAX_WHOLE_BYTES)
            reader.whole(body)
        else:
            await self._read_events(response, reader)

    async def _read_events(self, response: httpx2.Response, reader: Reader) -> None:
        parser = SseParser(where=self.where)
        received = 0

        def take(chunk: bytes) -> bool:
            nonlocal received
            received += len(chunk)
            if received > self._max_stream_bytes:
                raise self._too_long(self._max_stream_bytes)
            return any(map(reader.event, parser.feed(chunk)))

        if not await _consume(response, take):
            reader.end()

    async def _read_all(self, response: httpx2.Response, limit: int) -> bytes:
        """The body, or a little more than ``limit`` of it."""
        body = bytearray()

        def take(chunk: bytes) -> bool:
            body.extend(chunk)
            return len(body) > limit

        await _consume(response, take)
        return bytes(body)

    def _too_long(self, limit: int) -> AttemptError:
        return malformed(f"the answer is longer than {limit} bytes and was given up", where=self.where, retry=False)

    def _explain(self, error: httpx2.HTTPError) -> AttemptError:
        import httpx2

        if self._closed:
            return broken("the endpoint was closed by a change of configuration", where=self.where)
        if isinstance(error, httpx2.ConnectTimeout):
            return broken(f"no connection within {self._connect_timeout_s:g} s", where=self.where)
        if isinstance(error, httpx2.ReadTimeout):
            return broken(f"nothing was received for {self._read_timeout_s:g} s", where=self.where)
        if isinstance(error, httpx2.ConnectError):
            return broken(f"no connection: {error}", where=self.where)
        if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError):
            return malformed("the request cannot be sent to this base_url", where=self.where, retry=False)
        return broken(f"the connection broke ({type(error).__name__})", where=self.where)


async def _consume(response: httpx2.Response, take: Callable[[bytes], bool]) -> bool:
    """Hand chunks to ``take`` until it has enough; whether it had. What ``take`` raises is raised.

    After that the rest is read for a moment, so the connection can be used again, or cancelled. Leaving the loop
    instead would leave the library's nested generators to the garbage collector.
    """
    import httpx2

    enough = False
    failure: AttemptError | None = None
    with trio.CancelScope() as rest:
        try:
            async for chunk in response.aiter_bytes():
                if enough or failure:
                    continue
                try:
                    enough = take(chunk)
                except AttemptError as error:
                    failure = error
                    rest.cancel()
                if enough:
                    rest.deadline = trio.current_time() + DRAIN_S
        except httpx2.HTTPError:
            if not enough and failure is None:
                raise
    if failure is not None:
        raise failure
    return enough


def _load(tls: bool) -> ssl.SSLContext:
    """Import the HTTP library; with ``tls`` also load the certificate authorities, which takes 100 ms."""
    import ssl

    import httpx2

    if tls:
        return httpx2.create_ssl_context(trust_env=False)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used for http:, and trusts nobody if it ever were

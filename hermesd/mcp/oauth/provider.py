"""The httpx2.Auth of one server: token on, with a proof if it is bound to a key, one recovery after a 401, then words.

Imported on first use only: its base class belongs to the HTTP library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2

from hermesd.mcp.oauth.challenge import parse_challenge
from hermesd.mcp.oauth.dpop import USE_NONCE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from hermesd.mcp.oauth.keeper import TokenKeeper


class OAuthProvider(httpx2.Auth):
    """RFC 6750 bearer and RFC 9449 DPoP tokens from a TokenKeeper.

    Nothing is held while a request is under way, so nothing can stay held.

    A request raises McpError: auth (a person must sign in), down or timeout (the authorization server). Requests to
    another origin than the server's own go out without a token.
    """

    def __init__(self, keeper: TokenKeeper) -> None:
        self.keeper = keeper
        self._origin = _origin(httpx2.URL(keeper.server.url))

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Not offered: renewal waits for other processes and for the network."""
        raise NotImplementedError("use httpx2.AsyncClient")

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send the request with a token; again with another one, or with the nonce that is wanted, if it is refused."""
        if _origin(request.url) != self._origin:
            yield request
            return
        keeper = self.keeper
        token = await keeper.usable_token()
        renewed = answered = False
        while True:
            request.headers.pop("dpop", None)
            request.headers.update(await keeper.authorization(token, request.method, str(request.url)))
            response = yield request
            has_nonce = keeper.note_nonce(str(request.url), response.headers.get("dpop-nonce"))
            if response.status_code != 401:
                break
            if has_nonce and not answered and _wants_nonce(response):
                answered = True
                await _drop(response)
                continue
            if renewed:
                raise keeper.reject(token)
            if not await keeper.recover(token):
                raise keeper.failure or keeper.reject(token)
            token = await keeper.usable_token()
            renewed, answered = True, False
            await _drop(response)
        if response.status_code == 403:
            challenge = parse_challenge(response.headers.get_list("www-authenticate"))
            if challenge.wants_more_scope:
                raise await keeper.want_scope(challenge.scope)


async def _drop(response: httpx2.Response) -> None:
    """Let go of the rest of an answer: the library would read it to its end before it repeats the request."""
    stream, response.stream = response.stream, httpx2.ByteStream(b"")
    assert isinstance(stream, httpx2.AsyncByteStream)
    await stream.aclose()


def _wants_nonce(response: httpx2.Response) -> bool:
    """Whether only the proof was not good enough (RFC 9449 §9)."""
    return parse_challenge(response.headers.get_list("www-authenticate")).error == USE_NONCE


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    default = {"http": 80, "https": 443}.get(url.scheme, 0)
    return url.scheme, url.host, url.port or default

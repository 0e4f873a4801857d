"""The Bot API (core.telegram.org/bots/api) over httpx2: one method, and every failure told apart."""

from __future__ import annotations

import logging
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec
import trio

from hermesd.gateway.platform import Certainty, PlatformError
from hermesd.proxies import uses_environment_proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    import httpx2

T = TypeVar("T")

CONNECT_TIMEOUT_S = 10.0
CALL_TIMEOUT_S = 30.0
_KEEPALIVE_S = 20.0  # below the idle timeout of usual proxies, so that no request meets a connection about to close
_OPENING = trio.CapacityLimiter(2)
_TOKEN = re.compile(r"/bot[^/\s]+")


class TelegramError(PlatformError):
    """A PlatformError with Telegram's ``status`` (its error_code, or HTTP's; 0 when no answer came) and, when a group
    has become a supergroup, the chat it ``moved_to``."""

    def __init__(
        self,
        what: str,
        *,
        status: int = 0,
        moved_to: str = "",
        next_step: str = "",
        permanent: bool = False,
        fatal: bool = False,
        retry_after_s: float = 0.0,
        certainty: Certainty = "not_sent",
    ) -> None:
        super().__init__(
            what,
            where="telegram",
            next_step=next_step,
            permanent=permanent,
            fatal=fatal,
            retry_after_s=retry_after_s,
            certainty=certainty,
        )
        self.status = status
        self.moved_to = moved_to


class Parameters(msgspec.Struct, frozen=True):
    """ResponseParameters."""

    retry_after: float = 0.0
    migrate_to_chat_id: int = 0


class Answer(msgspec.Struct, frozen=True):
    """The envelope of every answer."""

    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    description: str = ""
    error_code: int = 0
    parameters: Parameters = Parameters()


_decode_answer = msgspec.json.Decoder(Answer).decode


class TelegramApi:
    """Calls for one bot. Its token is in every URL and never in an error or a log."""

    def __init__(self, client: httpx2.AsyncClient, base_url: str, token: str) -> None:
        self._client = client
        self._root = f"{base_url.rstrip('/')}/bot{token}"

    async def call(
        self, method: str, params: Mapping[str, object] | None = None, *, timeout_s: float = CALL_TIMEOUT_S
    ) -> msgspec.Raw:
        """The ``result`` of a Bot API method as undecoded JSON; raises TelegramError.

        ``certainty`` is ``unknown`` when the request may have been carried out although no answer says so.
        """
        import httpx2

        try:
            response = await self._client.post(
                f"{self._root}/{method}",
                content=msgspec.json.encode(params or {}),
                headers={"content-type": "application/json"},
                timeout=httpx2.Timeout(timeout_s, connect=CONNECT_TIMEOUT_S, pool=CONNECT_TIMEOUT_S),
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
            raise TelegramError(f"{method}: no connection: {_words(error)}") from None
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise TelegramError(
                f"the API root cannot be used: {_words(error)}",
                fatal=True,
                next_step="correct platforms.telegram.base_url",
            ) from None
        except httpx2.TransportError as error:
            raise TelegramError(f"{method}: no answer: {_words(error)}", certainty="unknown") from None
        return judge(method, response.status_code, response.content)


@asynccontextmanager
async def connect(base_url: str, token: str) -> AsyncIterator[TelegramApi]:
    """A client for as long as the block runs; it is made in a thread, because the libraries take their time."""
    client = await trio.to_thread.run_sync(_new_client, base_url, limiter=_OPENING)
    async with client:
        yield TelegramApi(client, base_url, token)


def _new_client(base_url: str) -> httpx2.AsyncClient:
    import httpx2

    # At INFO these would log every URL, and the token is a part of it.
    for name in ("httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.WARNING)
    limits = httpx2.Limits(max_connections=20, keepalive_expiry=_KEEPALIVE_S)
    return httpx2.AsyncClient(limits=limits, follow_redirects=False, trust_env=uses_environment_proxy(base_url))


def judge(method: str, http_status: int, content: bytes) -> msgspec.Raw:
    """The ``result`` in an answer; raises the TelegramError that the answer means."""
    try:
        answer = _decode_answer(content)
    except (msgspec.DecodeError, RecursionError):
        raise _without_envelope(method, http_status) from None
    if answer.ok:
        return answer.result
    status = answer.error_code or http_status
    what = f"{method}: {_TOKEN.sub('/bot…', answer.description) or f'status {status}'}"
    if status == 429:
        raise TelegramError(what, status=status, retry_after_s=max(1.0, answer.parameters.retry_after))
    if status == 401 or (status == 404 and method == "getMe"):
        raise wrong_token(status)
    moved_to = str(answer.parameters.migrate_to_chat_id or "")
    permanent = status in {400, 403, 404, 413} and not moved_to
    raise TelegramError(what, status=status, moved_to=moved_to, permanent=permanent)


def _without_envelope(method: str, status: int) -> TelegramError:
    """Something in front of the Bot API answered, or the path (which holds the token) is unknown to it."""
    if method == "getMe" and status in {401, 404}:
        return wrong_token(status)
    if 300 <= status < 500:
        return TelegramError(
            f"{method}: status {status} and no Telegram answer",
            status=status,
            next_step="check platforms.telegram.base_url and any proxy",
        )
    return TelegramError(f"{method}: status {status} and no Telegram answer", status=status, certainty="unknown")


def decode(raw: msgspec.Raw, kind: type[T]) -> T:
    """A result as ``kind``; raises TelegramError when it is something else."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        raise TelegramError(f"an answer is not understood: {error}", certainty="unknown") from None


def wrong_token(status: int) -> TelegramError:
    """The token is not one that Telegram knows: no retry will help."""
    return TelegramError(
        "wrong token: Telegram does not know this bot",
        status=status,
        fatal=True,
        next_step="get the token from @BotFather, set TELEGRAM_BOT_TOKEN in .env, then `hermesctl reload`",
    )


def _words(error: Exception) -> str:
    return _TOKEN.sub("/bot…", str(error)) or type(error).__name__

"""The outlet ``webhook:URL``: an answer as a signed HTTP POST.

The body is a JSON object ``{"id", "profile", "text", "at"}`` (``at``: RFC 3339, UTC), signed as Standard Webhooks say
(https://github.com/standard-webhooks/standard-webhooks, "Webhook scheme"). ``webhook-id`` is made from the message's
key alone, so a receiver that keeps ids recognises a repeat after a crash.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from hermesd.gateway.http_sending import retry_after_s, sending
from hermesd.gateway.outlets import refuse
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.triggers.obstacles import key_obstacle, key_of, url_obstacle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2

    from hermesd.store.records import OutboxRow

TIMEOUT_S = 30.0
_TRY_AGAIN = frozenset({408, 429})


class WebhookOutlet:
    """Posts to the URL in a row's ``chat``, with the settings that are in force when it does.

    ``private``: also to http and to loopback and private addresses.
    """

    def __init__(
        self, *, secret: Callable[[], str], private: Callable[[], bool], now: Callable[[], float] = time.time
    ) -> None:
        self._secret = secret
        self._private = private
        self._now = now

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Post the text once; raises PlatformError, permanent when trying again cannot help."""
        url = row.address.chat
        where = urlsplit(url).hostname or ""
        secret = self._secret()
        refuse(url_obstacle(url, private=self._private()) or key_obstacle(secret))
        key = key_of(secret)
        delivery = message_id(row.idempotency_key)
        at = datetime.fromtimestamp(row.created_at, UTC).isoformat()
        body = msgspec.json.encode({"id": delivery, "profile": row.profile, "text": row.text, "at": at})
        status, retry_after = await self._post(url, where, body, signed(key, delivery, int(self._now()), body))
        if not 200 <= status < 300:
            raise PlatformError(
                f"the receiver answered {status}",
                where=where,
                permanent=status < 500 and status not in _TRY_AGAIN,
                retry_after_s=retry_after_s(retry_after, self._now()),
            )
        return Sent(delivery)

    async def _post(self, url: str, where: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
        """Status and Retry-After. The answer's body is not read, and a redirect is not followed."""
        import httpx2

        try:
            with sending(where):
                async with (
                    self._client() as client,
                    client.stream("POST", url, content=body, headers=headers) as answer,
                ):
                    return answer.status_code, answer.headers.get("retry-after", "")
        except httpx2.InvalidURL as error:
            raise PlatformError("the URL cannot be read", where=where, permanent=True) from error

    def _client(self) -> httpx2.AsyncClient:
        import httpx2

        from hermesd.mcp.oauth.ssrf import AddressPolicy, guarded_transport

        policy = AddressPolicy(frozenset({"global", "private", "loopback"} if self._private() else {"global"}))
        return httpx2.AsyncClient(transport=guarded_transport(policy), timeout=TIMEOUT_S, trust_env=False)


def message_id(key: str) -> str:
    """The id of a message at its receiver: the same for every attempt."""
    return "msg_" + hashlib.sha256(key.encode()).hexdigest()[:32]


def signed(key: bytes, delivery: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a signed request; ``timestamp`` in epoch seconds."""
    content = f"{delivery}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "user-agent": "hermesd",
        "webhook-id": delivery,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }

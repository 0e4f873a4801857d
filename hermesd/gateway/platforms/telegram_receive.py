"""Long polling: updates become durable before the next getUpdates acknowledges them."""

from __future__ import annotations

import logging
import random
from typing import TYPE_CHECKING

import msgspec
import trio

from hermesd import failpoint
from hermesd.errors import HermesError, StoreError
from hermesd.gateway.platforms.telegram_api import TelegramError, decode
from hermesd.gateway.platforms.telegram_types import Update, UpdateId
from hermesd.store.records import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermesd.gateway.platforms.telegram_api import TelegramApi
    from hermesd.gateway.platforms.telegram_hearing import Hearing
    from hermesd.store.protocol import Store

logger = logging.getLogger(__name__)

MAX_FAILURES = 7  # with the pauses below about a minute, after which the supervisor is told
_MAX_PAUSE_S = 32.0
_ANSWER_MARGIN_S = 10.0
_BATCH = 100
_decode_update = msgspec.json.Decoder(Update).decode


class Poller:
    """Asks for updates, has them stored, and only then moves on.

    ``on_proof`` is called after every poll that returned. ``trouble`` is what is wrong now, in words, or ''.
    """

    def __init__(
        self,
        api: TelegramApi,
        store: Store,
        hearing: Hearing,
        *,
        profile: str,
        bot_id: int,
        poll_timeout_s: int,
        on_proof: Callable[[], None],
    ) -> None:
        self._api = api
        self._store = store
        self._hearing = hearing
        self._profile = profile
        # Another bot's offsets would make Telegram drop this bot's backlog as acknowledged.
        self._source = f"telegram:{bot_id}"
        self._poll_timeout_s = poll_timeout_s
        self._on_proof = on_proof
        self._told: set[str] = set()
        self.trouble = ""

    async def run(self) -> None:
        """Poll for ever; raises TelegramError when the token is wrong, or the last of MAX_FAILURES in a row."""
        offset = int(await self._store.cursor(self._profile, self._source) or 0)
        failures = 0
        while True:
            try:
                offset = await self.poll_once(offset)
            except (TelegramError, StoreError) as error:
                failures += 1
                await self._pause(error, failures)
            else:
                failures = 0

    async def poll_once(self, offset: int) -> int:
        """One getUpdates; returns the next offset, which is already committed with the events it covers."""
        result = await self._api.call(
            "getUpdates",
            {"offset": offset, "limit": _BATCH, "timeout": self._poll_timeout_s, "allowed_updates": ["message"]},
            timeout_s=self._poll_timeout_s + _ANSWER_MARGIN_S,
        )
        self._on_proof()
        self.trouble = ""
        updates = decode(result, list[msgspec.Raw])
        if not updates:
            return offset
        return await self._take(updates, offset)

    async def _take(self, updates: list[msgspec.Raw], offset: int) -> int:
        events, notices = [], []
        for raw in updates:
            offset = max(offset, decode(raw, UpdateId).update_id + 1)
            try:
                heard = self._hearing.judge(_decode_update(raw))
            except msgspec.ValidationError as error:
                logger.warning("a Telegram update is not understood and passed over: %s", error)
                continue
            if heard.refused:
                self._log_refusal(heard.refused)
            if heard.notice:
                notices.append(heard.notice)
            if heard.event:
                events.append(heard.event)
        if notices:  # first, so that a crash between the two repeats them: their keys make that harmless
            await self._store.offer(notices)
        cursor = Cursor(profile=self._profile, source=self._source, value=str(offset))
        await self._store.accept(events, cursor=cursor)
        failpoint.hit("cursor.before_ack")
        return offset

    def _log_refusal(self, who: str) -> None:
        if who not in self._told:
            if len(self._told) > 1000:
                self._told.clear()
            self._told.add(who)
            logger.warning("telegram of %s refused %s: not in allowed_users or allowed_chats", self._profile, who)

    async def _pause(self, error: HermesError, failures: int) -> None:
        if isinstance(error, TelegramError):
            if error.fatal:
                raise error
            error = _explained(error)
        if failures >= MAX_FAILURES:
            raise error
        pause_s = min(_MAX_PAUSE_S, 2.0 ** (failures - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
        if isinstance(error, TelegramError):
            pause_s = max(pause_s, error.retry_after_s)
        self.trouble = error.what
        logger.warning("telegram of %s: %s; next try in %.0f s", self._profile, error, pause_s)
        await trio.sleep(pause_s)


def _explained(error: TelegramError) -> TelegramError:
    """A conflict says who must give way."""
    if error.status != 409:
        return error
    if "webhook" in error.what:
        step = "the bot has a webhook; call deleteWebhook for it, or use another bot"
    else:
        step = "stop the other program that uses this bot's token, or give one of them another bot"
    return TelegramError(error.what, status=409, next_step=step)

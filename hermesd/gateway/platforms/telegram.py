"""Telegram: one bot of one profile, as a service and a sender."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

import trio

from hermesd.errors import ConfigError
from hermesd.gateway.access import AccessList
from hermesd.gateway.commands import DESCRIPTIONS
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.gateway.platforms.telegram_api import TelegramApi, TelegramError, connect, decode
from hermesd.gateway.platforms.telegram_hearing import Hearing
from hermesd.gateway.platforms.telegram_receive import Poller
from hermesd.gateway.platforms.telegram_send import Sender
from hermesd.gateway.platforms.telegram_types import User
from hermesd.supervision.policy import Policy
from hermesd.supervision.service import ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.config.schema import TelegramConfig
    from hermesd.gateway.connected import Connected
    from hermesd.gateway.platforms import Wiring
    from hermesd.store.protocol import Store
    from hermesd.store.records import Address, OutboxRow

logger = logging.getLogger(__name__)

MAX_STARTS_PER_DAY = 200
"""No schedule of restarts may use up what a platform grants a day."""

_INTRODUCTION_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0)


class Telegram:
    """Implements ``gateway.platform.Platform``, and ``drain`` of a Drainable.

    ``token`` comes from the profile's secrets or its configuration. Construction raises ConfigError without one.
    """

    name = "telegram"

    def __init__(self, profile: str, config: TelegramConfig, *, token: str, store: Store, connected: Connected) -> None:
        if not token:
            raise ConfigError(
                "no bot token",
                where="platforms.telegram",
                next_step="set TELEGRAM_BOT_TOKEN in the profile's .env",
            )
        self.proven_at = 0.0
        self._profile = profile
        self._config = config
        self._token = token
        self._store = store
        self._connected = connected
        self._sender: Sender | None = None
        self._poller: Poller | None = None
        self._polling = trio.CancelScope()
        self._username = ""

    @property
    def detail(self) -> str:
        """Words for the service's line in the tree."""
        if not self._username:
            return "not connected yet"
        if self._poller and self._poller.trouble:
            return f"@{self._username}: {self._poller.trouble}"
        return f"@{self._username}, last heard {max(0, round(time.time() - self.proven_at))} s ago"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive until cancelled. Raises TelegramError: ``fatal`` for a wrong token, or after a minute of failures."""
        async with connect(self._config.base_url, self._token) as api:
            me = await self._introduce(api)
            self._username = me.username
            self._sender = Sender(api)
            access = AccessList(self._config.allowed_users, self._config.allowed_chats)
            self._poller = Poller(
                api,
                self._store,
                Hearing(self._profile, me, access),
                profile=self._profile,
                bot_id=me.id,
                poll_timeout_s=self._config.poll_timeout_s,
                on_proof=self._prove,
            )
            with self._connected.hold(self):
                task_status.started()
                with self._polling:
                    await self._offer_menu(api)
                    await self._poller.run()
                await trio.sleep_forever()  # drained: nothing is taken any more, but replies may still leave

    async def drain(self) -> None:
        """Take no further updates; Telegram keeps them."""
        self._polling.cancel()
        await trio.lowlevel.checkpoint()

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Send or complete a message; raises TelegramError."""
        return Sent(await self._sending().send(row, progress=progress))

    async def show_draft(self, address: Address, text: str, ref: str) -> str:
        """Show or update a draft; raises TelegramError, with ``retry_after_s`` when it is too early."""
        if not self._config.stream:
            await trio.lowlevel.checkpoint()
            return ref
        return await self._sending().show_draft(address, text, ref)

    async def typing(self, address: Address) -> None:
        """Show that an answer is being made."""
        try:
            await self._sending().typing(address)
        except PlatformError as error:
            logger.debug("typing in %s is not shown: %s", address.chat, error.what)

    def _sending(self) -> Sender:
        if self._sender is None:
            raise TelegramError("not connected yet")
        return self._sender

    async def _introduce(self, api: TelegramApi) -> User:
        for pause_s in (*_INTRODUCTION_PAUSES_S, None):
            try:
                me = decode(await api.call("getMe"), User)
            except TelegramError as error:
                if error.fatal or pause_s is None:
                    raise
                logger.warning("telegram of %s: %s; next try in %.0f s", self._profile, error.what, pause_s)
                await trio.sleep(max(pause_s, error.retry_after_s))
            else:
                self._prove()
                return me
        raise AssertionError  # the last round returns or raises

    async def _offer_menu(self, api: TelegramApi) -> None:
        menu = [{"command": name, "description": text} for name, text in DESCRIPTIONS.items()]
        try:
            await api.call("setMyCommands", {"commands": menu})
        except TelegramError as error:
            logger.info("telegram of %s shows no menu of commands: %s", self._profile, error.what)

    def _prove(self) -> None:
        self.proven_at = time.time()


def spec(wiring: Wiring) -> ServiceSpec:
    """The service ``telegram`` of a profile, made from the settings in force at each start."""
    running: list[Telegram] = []

    def build() -> Telegram:
        settings = wiring.settings()
        config = settings.config.platforms.telegram
        made = Telegram(
            settings.profile.name, config, token=config.token, store=wiring.store, connected=wiring.connected
        )
        running[:] = [made]
        return made

    policy = Policy(max_starts_per_day=MAX_STARTS_PER_DAY)
    return ServiceSpec("telegram", build, policy=policy, detail=lambda: running[0].detail if running else "")

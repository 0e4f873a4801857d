"""The outlet ``discord``: messages to a channel (https://discord.com/developers/docs/resources/message).

A message's ``nonce`` is made from its key and enforced: an attempt repeated within minutes is not shown twice.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from hermesd.gateway.outlets import refuse
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.gateway.posting import Answer, post, send_parts, unavailable
from hermesd.triggers.obstacles import discord_obstacle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.config.schema import DiscordConfig
    from hermesd.store.records import OutboxRow

PART_UNITS = 2000
NONCE_CHARS = 25
WHERE = "discord"
_STEPS = {
    401: "put the bot's token into .env as DISCORD_BOT_TOKEN",
    403: "give the bot the permission to send messages in that channel",
    404: "write discord:<channel id>: a number, as developer mode copies it",
}


class DiscordOutlet:
    """Posts to the channel in a row's ``chat``, or to its ``thread``, which is a channel too."""

    def __init__(self, config: Callable[[], DiscordConfig]) -> None:
        self._config = config

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Post what is not out yet; raises PlatformError."""
        config = self._config()
        channel = row.address.thread or row.address.chat
        refuse(discord_obstacle(config, channel))

        async def post_part(text: str, number: int) -> str:
            return _message_id(
                await post(
                    f"{config.base_url.rstrip('/')}/channels/{channel}/messages",
                    where=WHERE,
                    headers={"authorization": f"Bot {config.token}", "content-type": "application/json"},
                    json={
                        "content": text,
                        "nonce": nonce(row.idempotency_key, number),
                        "enforce_nonce": True,
                        "allowed_mentions": {"parse": []},  # nothing that a model writes alarms a whole channel
                    },
                )
            )

        return await send_parts(row, PART_UNITS, post_part, progress)


def nonce(key: str, number: int) -> str:
    """The same for every attempt of one part."""
    return hashlib.sha256(f"{key}\0{number}".encode()).hexdigest()[:NONCE_CHARS]


def _message_id(answer: Answer) -> str:
    if 200 <= answer.status < 300:
        return str(answer.data.get("id", ""))
    if answer.status == 429 or answer.status >= 500:
        raise unavailable(answer, WHERE)
    said = str(answer.data.get("message", ""))[:200]
    words = f"Discord answered {answer.status}" + (f": {said}" if said else "")
    step = _STEPS.get(answer.status, "correct the channel, or the bot's permissions there")
    raise PlatformError(words, where=WHERE, next_step=step, permanent=True)

"""The outlet ``slack``: messages to a channel through ``chat.postMessage`` (https://api.slack.com/methods).

The text goes as a Markdown block, which Slack renders, and as the plain text of notifications. Slack knows no
idempotency key: an attempt whose answer was lost is repeated with a mark.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hermesd.gateway.outlets import refuse
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.gateway.posting import Answer, post, send_parts, unavailable
from hermesd.triggers.obstacles import slack_obstacle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.config.schema import SlackConfig
    from hermesd.gateway.platform import Certainty
    from hermesd.store.records import OutboxRow

PART_UNITS = 11_500  # a Markdown block takes 12,000 characters, which escaping must not exceed
WHERE = "slack"
_MENTION = re.compile(r"<(?=[!@#])")  # <!channel>, <@user>: nothing that a model writes alarms a whole channel
_WAIT = frozenset({"ratelimited", "rate_limited"})
_THEIR_FAULT = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
_STEPS = {
    "channel_not_found": "write slack:<channel id>, and invite the bot to the channel",
    "not_in_channel": "invite the bot to the channel: /invite @<bot>",
    "is_archived": "write another channel",
    "missing_scope": "give the app the scope chat:write, and install it again",
}


class SlackOutlet:
    """Posts to the channel in a row's ``chat``, into its ``thread`` if there is one."""

    def __init__(self, config: Callable[[], SlackConfig]) -> None:
        self._config = config

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Post what is not out yet; raises PlatformError."""
        config = self._config()
        refuse(slack_obstacle(config))

        async def post_part(text: str, _number: int) -> str:
            message: dict[str, object] = {
                "channel": row.address.chat,
                "text": plain(text),
                "blocks": [{"type": "markdown", "text": _MENTION.sub("&lt;", text)}],
            }
            if row.address.thread:
                message["thread_ts"] = row.address.thread
            return _message_id(
                await post(
                    f"{config.base_url.rstrip('/')}/chat.postMessage",
                    where=WHERE,
                    headers={
                        "authorization": f"Bearer {config.token}",
                        "content-type": "application/json; charset=utf-8",
                    },
                    json=message,
                )
            )

        return await send_parts(row, PART_UNITS, post_part, progress)


def plain(text: str) -> str:
    """Text that Slack shows as it is (https://api.slack.com/reference/surfaces/formatting, escaping)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _message_id(answer: Answer) -> str:
    """The message's ``ts``. Slack says what is wrong with status 200 and ``ok: false``."""
    if answer.status == 429 or answer.status >= 500:
        raise unavailable(answer, WHERE)
    if answer.data.get("ok") is True:
        return str(answer.data.get("ts", ""))
    error = str(answer.data.get("error", answer.status))[:80]
    if error in _WAIT or error in _THEIR_FAULT:
        certainty: Certainty = "unknown" if error in _THEIR_FAULT else "not_sent"
        raise PlatformError(f"Slack says {error}", where=WHERE, retry_after_s=answer.retry_after_s, certainty=certainty)
    step = _STEPS.get(error, "see chat.postMessage, errors, in Slack's documentation")
    if "auth" in error or "token" in error:
        step = "put the bot's token into .env as SLACK_BOT_TOKEN"
    raise PlatformError(f"Slack says {error}", where=WHERE, next_step=step, permanent=True)

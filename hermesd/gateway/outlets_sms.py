"""The outlet ``sms:+15551234567``: text messages through Twilio (https://www.twilio.com/docs/messaging/api/message-resource).

Twilio knows no idempotency key for messages: an attempt whose answer was lost is repeated with a mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermesd.gateway.outlets import refuse
from hermesd.gateway.platform import PlatformError, Sent
from hermesd.gateway.posting import Answer, post, send_parts, unavailable
from hermesd.triggers.obstacles import sms_obstacle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.config.schema import SmsConfig
    from hermesd.store.records import OutboxRow

PART_UNITS = 1600  # of a Body; more is refused with 21617
WHERE = "sms"


class SmsOutlet:
    """Sends to the number in a row's ``chat``."""

    def __init__(self, config: Callable[[], SmsConfig]) -> None:
        self._config = config

    async def send(self, row: OutboxRow, *, progress: Callable[[str], Awaitable[None]]) -> Sent:
        """Send what is not out yet; raises PlatformError."""
        config = self._config()
        number = row.address.chat
        refuse(sms_obstacle(config, number))

        async def post_part(text: str, _number: int) -> str:
            return _message_id(
                await post(
                    f"{config.base_url.rstrip('/')}/2010-04-01/Accounts/{config.account_sid}/Messages.json",
                    where=WHERE,
                    headers={},
                    form={"To": number, "From": config.sender, "Body": text},
                    login=(config.account_sid, config.auth_token),
                )
            )

        return await send_parts(row, PART_UNITS, post_part, progress)


def _message_id(answer: Answer) -> str:
    if 200 <= answer.status < 300:
        return str(answer.data.get("sid", ""))
    if answer.status == 429 or answer.status >= 500:
        raise unavailable(answer, WHERE)
    said = " ".join(str(answer.data[key])[:200] for key in ("code", "message") if key in answer.data)
    words = f"Twilio answered {answer.status}" + (f": {said}" if said else "")
    step = "correct TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN in .env" if answer.status == 401 else "correct the number"
    raise PlatformError(words, where=WHERE, next_step=step, permanent=True)

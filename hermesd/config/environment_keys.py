"""Variables of a .env that stand for keys of config.yaml, as in a hermes-agent home. config.yaml wins.

A model's key is not here: ``providers.routes`` picks it by the host that is really asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermesd.config.scalars import to_value
from hermesd.config.schema import Config
from hermesd.config.shape import shape_of
from hermesd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES: dict[str, str] = {
    "TELEGRAM_BOT_TOKEN": "platforms.telegram.token",
    "TELEGRAM_ALLOWED_USERS": "platforms.telegram.allowed_users",
    "TELEGRAM_ALLOWED_CHATS": "platforms.telegram.allowed_chats",
    "TELEGRAM_HOME_CHANNEL": "platforms.telegram.home_channel",
    "HERMES_TIMEZONE": "timezone",
    "EMAIL_PASSWORD": "platforms.smtp.password",
    "SLACK_BOT_TOKEN": "platforms.slack.token",
    "SLACK_HOME_CHANNEL": "platforms.slack.home_channel",
    "DISCORD_BOT_TOKEN": "platforms.discord.token",
    "DISCORD_HOME_CHANNEL": "platforms.discord.home_channel",
    "TWILIO_ACCOUNT_SID": "platforms.sms.account_sid",
    "TWILIO_AUTH_TOKEN": "platforms.sms.auth_token",
    "TWILIO_PHONE_NUMBER": "platforms.sms.sender",
    "SMS_HOME_CHANNEL": "platforms.sms.home_channel",
    "GITHUB_TOKEN": "platforms.github.token",
    "WEBHOOK_ENABLED": "platforms.webhook.enabled",
    "WEBHOOK_PORT": "platforms.webhook.port",
    "WEBHOOK_SECRET": "platforms.webhook.secret",
    "MCP_SERVE_TOKEN": "mcp_serve.token",
}
"""Variable → dotted key; a list's items are separated by commas."""

COMPLETED_BY: dict[str, str] = {"TELEGRAM_HOME_CHANNEL": "TELEGRAM_HOME_CHANNEL_THREAD_ID"}
"""A variable that names a chat → the one that names a topic in it."""


def fill_in(data: dict[str, Any], secrets: Mapping[str, str], source: str) -> None:
    """Set the keys that ``data`` leaves out or empty from ``secrets``. Raises ConfigError naming the variable."""
    for variable, key in VARIABLES.items():
        if not (text := secrets.get(variable, "").strip()):
            continue
        if thread := secrets.get(COMPLETED_BY.get(variable, ""), "").strip():
            text = f"{text}:{thread}"
        *sections, last = key.split(".")
        place, shape = data, shape_of(Config)
        for name in sections:
            place, shape = place.setdefault(name, {}), shape.fields[name]
        if last not in place or place[last] in ("", []):
            place[last] = _value(text, shape.fields[last], variable, source)


def _value(text: str, shape: Any, variable: str, source: str) -> Any:  # noqa: ANN401 - plain data of a Shape
    try:
        if shape.kind == "list":
            words = [word.strip() for word in text.split(",")]
            return [to_value(word, shape.item, plain=True) for word in words if word]
        return to_value(text, shape, plain=True)
    except ValueError as error:
        raise ConfigError(f"{variable} must be {error}", where=source, next_step=f"correct {variable}") from None

"""What stands between a target and its delivery: told when something is made that delivers there, and when it does.

Most are settings that are missing, and may come later: a warning then. What no setting is missing for is refused.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from hermesd.errors import ConfigError
from hermesd.rpc.wire_turn_fields import Warned
from hermesd.triggers.deliver import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hermesd.config.schema import DiscordConfig, EmailConfig, GithubConfig, PlatformsConfig, SlackConfig, SmsConfig
    from hermesd.store.records import Address

SECRET = "WEBHOOK_DELIVERY_SECRET"  # noqa: S105 - the name of the variable in .env
MIN_SECRET_BYTES = 24
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PREFIX = "whsec_"


class Obstacle(NamedTuple):
    """``refused``: it is no setting that is missing, so nothing should be made that delivers there."""

    what: str
    where: str
    next_step: str
    refused: bool = False


def check_targets(to: Iterable[Address], platforms: PlatformsConfig, *, where: str) -> None:
    """Raise ConfigError for a target that is refused. ``where``: the field that names it."""
    for address in to:
        found = obstacle(address, platforms, {})  # no refusal depends on a secret
        if found is not None and found.refused:
            raise ConfigError(f"deliver {_name(address)}: {found.what}", where=where, next_step=found.next_step)


def warnings(to: Iterable[Address], platforms: PlatformsConfig, secrets: Mapping[str, str]) -> list[Warned]:
    """One for each target that nothing could be sent to now."""
    found = {_name(address): obstacle(address, platforms, secrets) for address in to}
    return [Warned(f"deliver {name}: {each.what} yet", each.next_step) for name, each in found.items() if each]


def obstacle(address: Address, platforms: PlatformsConfig, secrets: Mapping[str, str]) -> Obstacle | None:
    """The first that is met, as the settings stand."""
    match address.platform:
        case "webhook":
            return url_obstacle(address.chat, private=platforms.webhook.deliver_private) or key_obstacle(
                secrets.get(SECRET, "")
            )
        case "email":
            return mail_obstacle(platforms.smtp)
        case "slack":
            return slack_obstacle(platforms.slack)
        case "discord":
            return discord_obstacle(platforms.discord, address.thread or address.chat)
        case "sms":
            return sms_obstacle(platforms.sms, address.chat)
        case "github_comment":
            return github_obstacle(platforms.github)
        case "telegram" if not platforms.telegram.enabled:
            return Obstacle("Telegram is not enabled", "platforms.telegram", "set platforms.telegram.enabled to true")
    return None


def _name(address: Address) -> str:
    """As it is written, less what of a URL may be secret."""
    chat = urlsplit(address.chat).hostname or "" if address.platform == "webhook" else address.chat
    return ":".join(filter(None, (address.platform, chat[:80], address.thread[:80])))


def url_obstacle(url: str, *, private: bool) -> Obstacle | None:
    """``private``: http, and private and loopback addresses are allowed. Names are looked up when it is posted to."""
    from hermesd.mcp.oauth.ssrf import kind_of, literal

    if private:
        return None
    parts = urlsplit(url)
    where = parts.hostname or ""
    step = "use an https URL, or set platforms.webhook.deliver_private: true"
    if parts.scheme != "https":
        return Obstacle("only https is posted to", where, step, refused=True)
    address = literal(where)
    if address is not None and kind_of(address) != "global":
        return Obstacle(f"{where} may not be reached", where, step.replace("an https", "a public https"), refused=True)
    return None


def key_of(secret: str) -> bytes:
    """The key that a secret (``whsec_…``, base64) spells; empty when it is none, or too short."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return b""
    return key if len(key) >= MIN_SECRET_BYTES else b""


def key_obstacle(secret: str) -> Obstacle | None:
    """What is posted is signed."""
    if key_of(secret):
        return None
    return Obstacle(
        f"{SECRET} is not set, or is not base64 of at least {MIN_SECRET_BYTES} bytes",
        ".env",
        f'put {SECRET}={_PREFIX}… into .env; make one with "openssl rand -base64 32"',
    )


def mail_obstacle(config: EmailConfig) -> Obstacle | None:
    """A server, a sender, and no password in clear."""
    where = "platforms.smtp"
    if not config.host or not config.sender:
        return Obstacle("mail has no server or no sender", where, "set platforms.smtp.host and platforms.smtp.sender")
    if config.user and not config.starttls and config.host not in LOOPBACK:
        return Obstacle("the mail password would go out in clear", where, "set platforms.smtp.starttls to true")
    return None


def slack_obstacle(config: SlackConfig) -> Obstacle | None:
    """A token."""
    step = "put SLACK_BOT_TOKEN=xoxb-… into .env"
    return None if config.token else Obstacle("Slack has no token", "platforms.slack", step)


def discord_obstacle(config: DiscordConfig, channel: str) -> Obstacle | None:
    """A channel's number, and a token."""
    if not (channel.isascii() and channel.isdigit()):
        step = "write discord:<channel id>: a number, as developer mode copies it"
        return Obstacle(f"{channel[:40]!r} is not a channel id", "discord", step, refused=True)
    step = "put DISCORD_BOT_TOKEN=… into .env"
    return None if config.token else Obstacle("Discord has no token", "platforms.discord", step)


def sms_obstacle(config: SmsConfig, number: str) -> Obstacle | None:
    """A number, and an account."""
    if not NUMBER.fullmatch(number):
        step = "write sms:+<country><number>, like sms:+15551234567"
        return Obstacle(f"{number[:40]!r} is not a phone number", "sms", step, refused=True)
    if config.account_sid and config.auth_token and config.sender:
        return None
    step = "put TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and TWILIO_PHONE_NUMBER into .env"
    return Obstacle("text messages have no account", "platforms.sms", step)


def github_obstacle(config: GithubConfig) -> Obstacle | None:
    """A token, and no way for it in clear."""
    if not config.token:
        return Obstacle("there is no token for GitHub", ".env", "put GITHUB_TOKEN=… into .env")
    parts = urlsplit(config.base_url)
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        where = "platforms.github.base_url"
        return Obstacle("the token for GitHub would go out in clear", where, f"set {where} to an https URL")
    return None

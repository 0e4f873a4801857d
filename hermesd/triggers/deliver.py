"""Where an answer goes: ``local``, ``log``, ``origin``, ``all``, a platform or a chat, or one of ``email:a@b``,
``webhook:URL`` and ``github_comment:owner/repo#12``.

Several stand with commas between them; a comma in a URL is written %2C.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hermesd.config import foreign
from hermesd.config.schema import PlatformsConfig
from hermesd.errors import ConfigError
from hermesd.store.records import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TARGETS = 16
MAX_URL_CHARS = 2000
MAX_MAIL_CHARS = 254
_MAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*")
NUMBER = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)
"""A phone number (E.164)."""

_WITHOUT_CHAT = frozenset({"log", "local"})
_WITH_CHAT = frozenset(PlatformsConfig.__struct_fields__) - {"webhook", "smtp", "github"}
NOT_YET = foreign.PLATFORMS - _WITH_CHAT - _WITHOUT_CHAT - {"email"}
"""Platforms that a hermes-agent home may name, and that are not there."""

GITHUB = "github_comment"
ISSUE = re.compile(r"([\w.-]{1,100}/[\w.-]{1,100})#([0-9]{1,10})", re.ASCII)
"""``owner/repo#12``: an issue or a pull request."""

_FORMS = ", ".join(f"{name}[:<chat>[:<thread>]]" for name in sorted(_WITH_CHAT))


def homes(config: PlatformsConfig) -> dict[str, str]:
    """Platform → its home channel (``chat`` or ``chat:thread``), of those that are on and have one."""
    found = {}
    for name in sorted(_WITH_CHAT):
        platform = getattr(config, name)
        if platform.enabled and platform.home_channel:
            found[name] = str(platform.home_channel)
    return found


def parse_deliver(
    text: str, *, homes: Mapping[str, str], origin: Address | None = None, where: str = ""
) -> list[Address]:
    """The addresses of the targets, each once. Raises ConfigError for what is no target or has no chat to go to."""
    found: dict[Address, None] = {}
    targets = [target.strip() for target in text.split(",")]
    for target in targets:
        if target == "all":
            found |= dict.fromkeys(_home(name, homes, where) for name in homes)
            if not homes:
                raise ConfigError(
                    "deliver 'all' reaches nobody: no platform has a home channel",
                    where=where,
                    next_step="hermesctl config set platforms.telegram.home_channel CHAT",
                )
        elif target == "origin":
            found[_origin(origin, homes, where)] = None
        else:
            found[_address(target, homes, where)] = None
    if len(found) > MAX_TARGETS:
        raise ConfigError(f"deliver names {len(found)} targets", where=where, next_step=f"name {MAX_TARGETS} at most")
    return list(found)


def _origin(origin: Address | None, homes: Mapping[str, str], where: str) -> Address:
    """The chat something was asked for in; what was made without one goes to the first home channel."""
    if origin is not None and origin.platform:
        return origin
    if homes:
        return _home(next(iter(homes)), homes, where)
    raise ConfigError("deliver 'origin' has no chat to go to", where=where, next_step="name one, like telegram:<chat>")


def _address(target: str, homes: Mapping[str, str], where: str) -> Address:
    platform, _, rest = target.partition(":")
    if target in _WITHOUT_CHAT:
        return Address(platform=target)
    if platform == "webhook" and rest:
        return Address(platform=platform, chat=_url(rest, where))
    if platform == "email" and len(rest) <= MAX_MAIL_CHARS and _MAIL.fullmatch(rest):
        return Address(platform=platform, chat=rest)
    if platform == GITHUB:
        return _issue(rest, where)
    if platform in NOT_YET:
        raise ConfigError(
            f"deliver {target[:80]!r} cannot be reached: there is no platform {platform!r} yet",
            where=where,
            next_step=f"deliver to {', '.join(sorted(_WITH_CHAT))}, email:<a@b>, webhook:<URL> or local",
        )
    if platform not in _WITH_CHAT or target.endswith(":"):
        raise ConfigError(
            f"deliver {target[:80]!r} is not a target",
            where=where,
            next_step="write local, log, origin, all, email:<a@b>, webhook:<URL>, "
            f"{GITHUB}:<owner>/<repo>#<number> or {_FORMS}",
        )
    if not rest:
        return _home(platform, homes, where)
    chat, _, thread = rest.partition(":")
    return Address(platform=platform, chat=chat, thread=thread)


def _issue(text: str, where: str) -> Address:
    if not ISSUE.fullmatch(text):
        raise ConfigError(
            f"deliver {GITHUB!r} names no issue or pull request",
            where=where,
            next_step=f"write {GITHUB}:<owner>/<repo>#<number>",
        )
    return Address(platform=GITHUB, chat=text)


def _url(text: str, where: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not text.isascii() or not text.isprintable() or " " in text or len(text) > MAX_URL_CHARS:
        raise ConfigError(
            "deliver 'webhook' has no usable URL", where=where, next_step="write webhook:https://<host>/<path>"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "deliver 'webhook' has a name or password in its URL",
            where=where,
            next_step="leave it out: requests are signed with WEBHOOK_DELIVERY_SECRET from .env",
        )
    return text


def _home(platform: str, homes: Mapping[str, str], where: str) -> Address:
    if platform not in homes:
        raise ConfigError(
            f"deliver {platform!r} has no chat to go to: it has no home channel, or is not enabled",
            where=where,
            next_step=f"set platforms.{platform}.home_channel, or write {platform}:<chat>",
        )
    chat, _, thread = homes[platform].partition(":")
    return Address(platform=platform, chat=chat, thread=thread)

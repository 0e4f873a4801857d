"""The ``deliver`` target of a route: ``log``, ``local``, or ``<platform>:<chat>[:<thread>]``."""

from __future__ import annotations

from hermesd.config.schema import PlatformsConfig
from hermesd.errors import ConfigError
from hermesd.store.records import Address

_WITHOUT_CHAT = frozenset({"log", "local"})
_WITH_CHAT = frozenset(PlatformsConfig.__struct_fields__) - {"webhook"}
_FORMS = ", ".join(f"{name}:<chat>[:<thread>]" for name in sorted(_WITH_CHAT))


def parse_deliver(text: str, *, where: str = "") -> Address:
    """The address of one target; raises ConfigError for none, several, or a platform without a chat."""
    target = text.strip()
    if "," in target:
        raise ConfigError(
            f"deliver {text!r} names several targets", where=where, next_step="name one; make a route for each target"
        )
    platform, _, rest = target.partition(":")
    chat, _, thread = rest.partition(":")
    if target in _WITHOUT_CHAT:
        return Address(platform=target)
    if platform not in _WITH_CHAT or not chat:
        raise ConfigError(f"deliver {text!r} is not a target", where=where, next_step=f"write log, local or {_FORMS}")
    return Address(platform=platform, chat=chat, thread=thread)

"""Where the answer to a webhook goes: the targets of ``deliver``, completed by ``deliver_extra`` and the payload.

``chat_id`` (and ``thread_id`` or ``message_thread_id``) complete a platform that is named without a chat; ``repo`` and
``pr_number`` (or ``issue_number``) complete ``github_comment``, which otherwise takes both from GitHub's payload.
Values may be templates like ``{repository.full_name}``. What a payload fills in can name a chat, never another target.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hermesd.config.schema import PlatformsConfig
from hermesd.errors import ConfigError
from hermesd.store.records import Address
from hermesd.triggers.deliver import parse_deliver
from hermesd.triggers.templates import is_template, look_up, render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermesd.config.schema import WebhookRoute

GITHUB = "github_comment"
UNDELIVERABLE = Address(platform="local")
"""Where an answer is kept whose target the payload does not tell."""

_CHATS = frozenset(PlatformsConfig.__struct_fields__) - {"webhook", "smtp", "github"}
_ALIASES = {
    "chat_id": "chat",
    "thread_id": "thread",
    "message_thread_id": "thread",
    "repo": "repo",
    "pr_number": "number",
    "issue_number": "number",
}
_VALUES = {
    "chat": re.compile(r"[-+@\w.]{1,128}", re.ASCII),
    "thread": re.compile(r"[-\w.]{1,64}", re.ASCII),
    "repo": re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}", re.ASCII),
    "number": re.compile(r"[0-9]{1,10}", re.ASCII),
}
_FROM_PAYLOAD = {
    "repo": ("repository.full_name",),
    "number": ("pull_request.number", "issue.number", "number"),
}
_NO_VALUES = frozenset({"null", "true", "false"})  # JSON that a template may render, and no chat
_SAMPLES = {"chat": "1", "thread": "1", "repo": "owner/name", "number": "1"}


class Places:
    """The targets of one route. Raises ConfigError when they could not be used by any payload."""

    def __init__(self, route: WebhookRoute, *, homes: Mapping[str, str], where: str) -> None:
        self._targets = [target.strip() for target in route.deliver.split(",")]
        self._homes = homes
        self._where = where
        self._extra = _checked(route.deliver_extra, where)
        self.fixed = self._parsed(_SAMPLES | self._extra)
        self._open = self._depends_on_payload()

    def for_event(self, payload: dict[str, object], event_type: str) -> tuple[list[Address], str]:
        """The addresses, and a sentence when the payload does not tell one: its answer is then kept as ``local``."""
        if not self._open:
            return self.fixed, ""
        values = self._values(payload, event_type)
        found: dict[Address, None] = {}
        missing: list[str] = []
        for target in self._targets:
            if lacks := [name for name in _needs(target, self._extra) if name not in values]:
                missing.append(f"{target} ({', '.join(lacks)})")
                found[UNDELIVERABLE] = None
                continue
            text = _completed(target, values)
            found |= dict.fromkeys(parse_deliver(text, homes=self._homes, where=self._where))
        said = f"the payload does not say where to deliver to: {'; '.join(missing)}; kept as local" if missing else ""
        return list(found), said

    def _parsed(self, values: Mapping[str, str]) -> list[Address]:
        sample = {name: _SAMPLES[name] if is_template(value) else value for name, value in values.items()}
        sample = {name: value for name, value in sample.items() if name in self._extra or name in _FROM_PAYLOAD}
        text = ",".join(_completed(target, sample) for target in self._targets)
        return parse_deliver(text, homes=self._homes, where=self._where)

    def _depends_on_payload(self) -> bool:
        needed = {name for target in self._targets for name in _needs(target, self._extra)}
        return any(name not in self._extra or is_template(self._extra[name]) for name in needed)

    def _values(self, payload: dict[str, object], event_type: str) -> dict[str, str]:
        found = {}
        for name, pattern in _VALUES.items():
            if name in self._extra:
                value = render(self._extra[name], payload, event_type=event_type)
            else:
                value = _first(payload, _FROM_PAYLOAD.get(name, ()))
            if pattern.fullmatch(value) and value not in _NO_VALUES:
                found[name] = value
        return found


def _checked(extra: Mapping[str, str], where: str) -> dict[str, str]:
    """The values by our names. Raises ConfigError."""
    found: dict[str, str] = {}
    for name, value in extra.items():
        ours = _ALIASES.get(name)
        if ours is None:
            raise ConfigError(
                f"deliver_extra has an unknown key {name[:40]!r}", where=where, next_step=f"use {', '.join(_ALIASES)}"
            )
        if not is_template(value) and not _VALUES[ours].fullmatch(value):
            raise ConfigError(
                f"deliver_extra.{name} cannot be {value[:80]!r}",
                where=where,
                next_step=f"write it like {_SAMPLES[ours]}, or as a template like {{a.b}}",
            )
        found[ours] = value
    if "thread" in found and "chat" not in found:
        raise ConfigError("deliver_extra has a thread without a chat_id", where=where, next_step="add chat_id")
    return found


def _needs(target: str, extra: Mapping[str, str]) -> tuple[str, ...]:
    """What the target is completed with."""
    if target == GITHUB:
        return ("repo", "number")
    if target in _CHATS:
        return tuple(name for name in ("chat", "thread") if name in extra)
    return ()


def _completed(target: str, values: Mapping[str, str]) -> str:
    if target == GITHUB and "repo" in values and "number" in values:
        return f"{GITHUB}:{values['repo']}#{values['number']}"
    if target in _CHATS and "chat" in values:
        return ":".join([target, values["chat"], *([values["thread"]] if "thread" in values else [])])
    return target


def _first(payload: dict[str, object], paths: tuple[str, ...]) -> str:
    for path in paths:
        known, value = look_up(payload, path)
        if known and isinstance(value, (str, int)):
            return str(value)
    return ""

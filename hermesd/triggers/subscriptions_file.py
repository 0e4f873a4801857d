"""webhook_subscriptions.json of hermes-agent: its routes in our words. The file itself is only read.

``{NAME: {description, events, secret, prompt, skills, deliver, deliver_only, deliver_extra, script, enabled, filters,
created_at}}``
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from hermesd.errors import HermesError, UsageError
from hermesd.triggers.filters import compile_filters
from hermesd.triggers.signatures import PLACEHOLDER_SECRETS

MAX_ROUTES = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)

Entry = dict[str, Any]  # JSON of another program: every field is looked at before it is used


class _Fields(msgspec.Struct, kw_only=True):
    """What is taken over of an entry."""

    prompt: str = ""
    description: str = ""
    events: list[str] = []
    skills: list[str] = []
    deliver: str = "log"
    deliver_only: bool = False
    deliver_extra: dict[str, str | int] = {}
    filters: list[Any] | dict[str, Any] = []  # Any: conditions within conditions
    enabled: bool = True
    secret: str = ""
    script: str = ""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One route: its section of config.yaml without the secret, the secret, and what the owner should know of it."""

    name: str
    section: Entry
    secret: str
    notices: tuple[str, ...] = ()


def read_subscriptions(text: str) -> tuple[list[Subscription], list[str]]:
    """The routes of a file, and a sentence for each that cannot be taken over. Raises UsageError."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise UsageError(f"that is no JSON: {error}", next_step="give a webhook_subscriptions.json") from None
    if not isinstance(found, dict) or len(found) > MAX_ROUTES:
        raise UsageError("that is no mapping of routes", next_step=f"give {{NAME: {{…}}}}, {MAX_ROUTES} at most")
    made: list[Subscription] = []
    left_out: list[str] = []
    for name, entry in found.items():
        try:
            made.append(_subscription(name, entry))
        except HermesError as error:
            left_out.append(f"{name[:80]}: {error.what}")
    return made, left_out


def _subscription(name: str, entry: object) -> Subscription:
    """One entry in our words. Raises UsageError, ConfigError (filters)."""
    if not _NAME.fullmatch(name):
        raise UsageError("is not a route's name here")
    try:
        given = {key: value for key, value in entry.items() if value is not None} if isinstance(entry, dict) else entry
        fields = msgspec.convert(given, _Fields)
    except msgspec.ValidationError as error:
        raise UsageError(str(error)) from None
    filters = fields.filters if isinstance(fields.filters, list) else [fields.filters]
    compile_filters(filters, where=name)
    notices = []
    enabled = fields.enabled
    if fields.script:
        enabled = False
        notices.append("is disabled: its script would hold events back, and scripts of routes do not run here")
    if fields.secret in PLACEHOLDER_SECRETS:
        notices.append("has no secret: give it one with `hermesctl webhook rotate`")
    section = {
        "prompt": fields.prompt,
        "description": fields.description,
        "events": fields.events,
        "filters": filters,
        "skills": fields.skills,
        "deliver": fields.deliver,
        "deliver_only": fields.deliver_only,
        "deliver_extra": {key: str(value) for key, value in fields.deliver_extra.items()},
    }
    kept = {key: value for key, value in section.items() if value} | ({} if enabled else {"enabled": False})
    secret = "" if fields.secret in PLACEHOLDER_SECRETS else fields.secret
    return Subscription(name, kept, secret, tuple(notices))

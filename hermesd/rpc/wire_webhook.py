"""The types of ``webhook.*``: beside ``rpc.wire``."""

from __future__ import annotations

from typing import Any

import msgspec

from hermesd.rpc.wire import Params, Result


class WebhookParams(Params, kw_only=True):
    """One route of a profile; an empty profile means the current one."""

    name: str
    profile: str = ""


class WebhookView(Result, kw_only=True):
    """A route. Counters are those since it was made, ``refused`` by reason; ``last_at`` is epoch seconds."""

    name: str
    profile: str
    url: str
    enabled: bool
    scheme: str
    deliver: str
    has_secret: bool
    description: str = ""
    prompt: str = ""
    events: list[str] = msgspec.field(default_factory=list)
    filters: list[Any] = msgspec.field(default_factory=list)  # Any: conditions within conditions
    skills: list[str] = msgspec.field(default_factory=list)
    deliver_only: bool = False
    deliver_extra: dict[str, str] = msgspec.field(default_factory=dict)
    accepted: int = 0
    duplicates: int = 0
    ignored: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    last_at: float = 0.0


class WebhooksResult(Result, kw_only=True):
    """The routes of a profile by name; ``listening`` says whether they are answered now."""

    routes: list[WebhookView]
    listening: bool = False

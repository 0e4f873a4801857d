"""The types of ``watch.*``: beside ``rpc.wire``."""

from __future__ import annotations

from typing import Literal

import msgspec

from hermesd.rpc.wire import Params, Result
from hermesd.rpc.wire_turn_fields import TurnFields, Warned

WatchMode = Literal["suggest", "act"]
WhileRunning = Literal["ignore", "count"]
Bus = Literal["system", "user"]


class WatchFields(TurnFields, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What may be said of a watch; None leaves it unset. Exactly one of ``files``, ``command`` and ``unit``.

    ``files`` are absolute paths or patterns, ``command`` a script below the profile's scripts/, run whenever ``every``
    (a schedule) is due. ``bus`` and ``states`` belong to a unit. ``debounce_s`` is how long it must have been quiet.
    """

    files: list[str] | None = None
    command: str | None = None
    every: str | None = None
    unit: str | None = None
    bus: Bus | None = None
    states: list[str] | None = None
    mode: WatchMode | None = None
    debounce_s: float | None = None
    while_running: WhileRunning | None = None


class WatchParams(Params, kw_only=True):
    """One watch: its id, the beginning of it, or its name."""

    watch: str
    profile: str = ""


class WatchAddParams(Params, kw_only=True):
    """A new watch."""

    fields: WatchFields
    profile: str = ""
    paused: bool = False


class WatchAnswerParams(Params, kw_only=True):
    """The answer to what a watch in suggest mode has asked: yes, no or always."""

    watch: str
    answer: str
    profile: str = ""


class WatchRunsParams(Params, kw_only=True):
    """Runs of a watch, or of all watches of a profile; newest first."""

    watch: str = ""
    profile: str = ""
    limit: int = 20


class Watch(Result, kw_only=True):
    """A watch. Times are epoch seconds, 0 for none. ``error``: why it cannot be watched, ``question``: what it asks."""

    id: str
    profile: str
    name: str
    state: str
    kind: str
    what: str
    fields: WatchFields
    fired: int = 0
    last_at: float = 0.0
    created_at: float = 0.0
    error: str = ""
    question: str = ""


class WatchResult(Result, kw_only=True):
    """One watch. ``warnings``: what of a watch just made could not be done as the settings stand."""

    watch: Watch
    message: str = ""
    warnings: list[Warned] = msgspec.field(default_factory=list)


class WatchListResult(Result, kw_only=True):
    """Watches, in the order they were made."""

    watches: list[Watch]


class WatchTestResult(Result, kw_only=True):
    """What a watch sees now, and what it would tell the agent if that had just changed. Nothing is begun."""

    sees: str
    prompt: str

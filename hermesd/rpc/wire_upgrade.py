"""The types of ``daemon.unfinished`` and ``daemon.stop``: beside ``rpc.wire``."""

from __future__ import annotations

from typing import Literal

from hermesd.rpc.wire import Done, Result


class Unfinished(Result, kw_only=True):
    """Something under way, and what a restart would make of it. ``since`` is epoch seconds.

    ``fate``: ``resumed`` (finished in time, or gone on with afterwards), ``failed`` (it says so), ``ended``.
    """

    kind: Literal["turn", "script", "process"]
    profile: str
    what: str
    since: float
    fate: Literal["resumed", "failed", "ended"]


class UnfinishedResult(Result, kw_only=True):
    """Everything that a restart would interrupt now."""

    work: list[Unfinished]


class StopResult(Done, kw_only=True):
    """``socket_unit``: the unit whose socket stays, so that the next client starts the daemon again; '' for none."""

    socket_unit: str = ""

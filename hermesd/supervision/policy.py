"""Restart policies: when a service comes back, how soon, and when to give up."""

from __future__ import annotations

from typing import Literal

import msgspec

RestartKind = Literal["permanent", "transient", "temporary"]
"""permanent: always restarted; transient: restarted after a failure only; temporary: never restarted."""


class Policy(msgspec.Struct, frozen=True):
    """All durations in seconds.

    Backoff is exponential with full jitter between 0 and the current ceiling (AWS Architecture Blog, "Exponential
    Backoff And Jitter"), after ``immediate`` restarts without delay. ``max_restarts`` in ``period_s`` is the
    intensity cap of Erlang/OTP's supervisors: beyond it the service is ``failed`` until started by hand or by a
    change of configuration. ``healthy_after_s`` of uninterrupted ``ready`` forgives the past. ``max_starts_per_day``
    bounds starts in 24 hours whatever their cause and is never forgiven (0: no bound); a person's start passes it.
    """

    kind: RestartKind = "permanent"
    immediate: int = 1
    base_s: float = 0.2
    cap_s: float = 60.0
    max_restarts: int = 8
    period_s: float = 300.0
    healthy_after_s: float = 60.0
    start_timeout_s: float = 60.0
    drain_s: float = 10.0
    stop_s: float = 5.0
    max_starts_per_day: int = 0

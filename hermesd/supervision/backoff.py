"""Exponential backoff with full jitter (AWS Architecture Blog, "Exponential Backoff And Jitter")."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from hermesd.supervision.policy import Policy

MAX_DOUBLINGS = 64  # 2.0**64 of any base is beyond every cap; more would overflow a float in the end


def ceiling_s(policy: Policy, failures: int) -> float:
    """The longest wait after this many failures in a row; 0 while restarts are immediate."""
    doublings = failures - policy.immediate - 1
    if doublings < 0:
        return 0.0
    return min(policy.cap_s, policy.base_s * 2.0 ** min(doublings, MAX_DOUBLINGS))


def delay_s(policy: Policy, failures: int, rng: random.Random) -> float:
    """How long to wait before the next start: uniform between 0 and the ceiling."""
    ceiling = ceiling_s(policy, failures)
    return rng.uniform(0.0, ceiling) if ceiling else 0.0

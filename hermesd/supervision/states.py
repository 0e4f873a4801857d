"""The states of a supervised service, as a table.

                    ┌────────────────────── start ──────────────────────┐
                    │            ┌───────── again ─────────┐            │
                    ▼            ▼                         │            │
    stopped ──► starting ──started──► ready ───────────────┤            │
       ▲           │ │                 │ │                 │            │
       │         retry └─── stop ──┐ stop└─ retry ─► backoff (due, start ► starting)
       │           │               ▼   ▼                   │            │
       ├── gone ───│─────────── draining                   │            │
       ├── finish ─┤ (from starting and ready)             │            │
       │           └─ give_up (from starting and ready) ─► failed ──────┘
       └── stop ─────────────────────────── (from backoff and failed)

Events: ``start`` a person, the tree or the program wants it; ``started`` the service says it is ready; ``again`` it
ended and may come back without delay; ``retry`` it ended and must wait; ``due`` the wait is over; ``finish`` it ended
and that is well; ``give_up`` it ended and will not be restarted by itself; ``stop`` it is to end; ``gone`` it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hermesd.supervision.service import ServiceState

StateEvent = Literal["start", "started", "again", "retry", "due", "finish", "give_up", "stop", "gone"]

TRANSITIONS: dict[tuple[ServiceState, StateEvent], ServiceState] = {
    ("stopped", "start"): "starting",
    ("failed", "start"): "starting",
    ("backoff", "start"): "starting",
    ("backoff", "due"): "starting",
    ("starting", "started"): "ready",
    ("starting", "again"): "starting",
    ("ready", "again"): "starting",
    ("starting", "retry"): "backoff",
    ("ready", "retry"): "backoff",
    ("starting", "finish"): "stopped",
    ("ready", "finish"): "stopped",
    ("starting", "give_up"): "failed",
    ("ready", "give_up"): "failed",
    ("starting", "stop"): "draining",
    ("ready", "stop"): "draining",
    ("draining", "gone"): "stopped",
    ("backoff", "stop"): "stopped",
    ("failed", "stop"): "stopped",
}


def next_state(state: ServiceState, event: StateEvent) -> ServiceState:
    """The state after ``event``; raises ValueError when the table has no such transition."""
    found = TRANSITIONS.get((state, event))
    if found is None:
        raise ValueError(f"a service that is {state} cannot {event}")
    return found

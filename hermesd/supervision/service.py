"""What a service is: an object with ``run``, a name, a policy and a visible state.

The states and their transitions are drawn and tabled in ``supervision.states``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from hermesd.supervision.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

ServiceState = Literal["starting", "ready", "backoff", "draining", "stopped", "failed"]


class Service(Protocol):
    """Something that runs until it is cancelled, fails, or is done."""

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Call ``task_status.started()`` once ready; return when done; raise when broken; clean up when cancelled."""


class Drainable(Protocol):
    """A service that can finish what it has before it is cancelled."""

    async def drain(self) -> None:
        """Take nothing new and return when nothing is under way; bounded by the supervisor's deadline."""


class ServiceSpec(msgspec.Struct, frozen=True):
    """How a supervisor makes and keeps one service.

    ``factory`` is called for every start, so a restarted service begins with fresh state. ``name`` is the last part
    of the path (``telegram``); the supervisor prefixes its own. ``detail`` adds words to the tree's line.
    Services of one ``group`` stop together, and after everything in higher groups is gone.
    """

    name: str
    factory: Callable[[], Service]
    policy: Policy = msgspec.field(default_factory=Policy)
    detail: Callable[[], str] | None = None
    group: int = 0


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``hermesctl tree``. Times are epoch seconds; ``next_try_at`` is 0 when none is due."""

    name: str
    state: ServiceState
    since: float
    restarts: int = 0
    last_error: str = ""
    next_try_at: float = 0.0
    detail: str = ""
    children: list[ServiceStatus] = []

"""What a supervisor and its children know of each other."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from hermesd.supervision.budget import BudgetStore
    from hermesd.supervision.ledger import Ledger
    from hermesd.supervision.service import ServiceStatus


class Host(Protocol):
    """What a child needs of the supervisor that keeps it."""

    rng: random.Random
    ledger: Ledger
    budgets: BudgetStore | None
    on_change: Callable[[ServiceStatus], None] | None

    def wall(self) -> float:
        """Epoch seconds."""

    def path_of(self, name: str) -> str:
        """The full path of a child called ``name``."""

    def spawn(self, function: Callable[[], Awaitable[None]], name: str) -> None:
        """Run ``function`` as a task of the supervisor's nursery, in the supervisor's own context."""

    def changed(self, status: ServiceStatus) -> None:
        """A child is in another state."""


class Tree(ABC):
    """A service that has services of its own. The supervisor is the only one; this is what its parent knows of it."""

    __slots__ = ()

    @abstractmethod
    def adopt(self, path: str, host: Host) -> None:
        """Learn the place in the tree."""

    @abstractmethod
    def child_statuses(self) -> list[ServiceStatus]:
        """The status of every child."""

    @abstractmethod
    def limit(self, deadline: float) -> None:
        """Bring the end of draining forward."""

    @abstractmethod
    def stuck(self) -> list[str]:
        """Paths of services that ignored their cancellation."""

    @abstractmethod
    async def close(self, deadline: float) -> None:
        """Stop every child in order."""

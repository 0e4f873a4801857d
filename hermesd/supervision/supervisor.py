"""The supervisor: keeps services under their policies, adds and removes them at run time, stops them in order.

A supervisor is itself a service, so supervisors nest. Nothing a child does reaches its siblings: every start of a
service has a nursery of its own, whose errors become a state, a text and a log line. Only Cancelled, KeyboardInterrupt
and SystemExit pass through.
"""

from __future__ import annotations

import contextvars
import functools
import logging
import math
import random
import time
from typing import TYPE_CHECKING

import trio

from hermesd.errors import ConflictError, NotFoundError
from hermesd.supervision.child import Child
from hermesd.supervision.ledger import Ledger
from hermesd.supervision.service import ServiceStatus
from hermesd.supervision.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from hermesd.supervision.budget import BudgetStore
    from hermesd.supervision.service import Service, ServiceSpec, ServiceState
    from hermesd.supervision.tree import Host

log = logging.getLogger("hermesd.supervision")


class Supervisor(Tree):
    """``Supervisor("hermesd")`` is a root: ``await root.run()`` keeps its children until ``shutdown``.

    As a child it is made by a ServiceSpec's factory, which may return the same object at every start: its children
    are kept over a stop. ``budgets`` and ``on_change`` default to those of the supervisor above. ``on_change`` is
    called on the loop at every transition with the child's status, without the child's own children.
    """

    def __init__(
        self,
        name: str,
        *,
        budgets: BudgetStore | None = None,
        on_change: Callable[[ServiceStatus], None] | None = None,
        wall: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        self.name = name
        self.budgets = budgets
        self.on_change = on_change
        self.rng = rng or random.Random()  # noqa: S311 - jitter, not a secret
        self.wall = wall
        self.ledger = Ledger(budgets, wall=wall, spawn=self.spawn)
        self._prefix = ""
        self._children: dict[str, Child] = {}
        self._nursery: trio.Nursery | None = None
        self._context = contextvars.Context()
        self._since = wall()
        self._deadline = math.inf
        self._closing = False
        self._closed = trio.Event()

    # -- being a service -----------------------------------------------------------------------------------------
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the children until ``shutdown``, and start those already added; ready as soon as they are launched.

        Raises RuntimeError when it is running already. Does not return while a child ignores its cancellation.
        """
        if self._nursery is not None:
            raise RuntimeError(f"the supervisor {self.name} is running already")
        self._deadline = math.inf
        self._closing = False
        self._closed = trio.Event()
        self._context = contextvars.copy_context()
        self._since = self.wall()
        try:
            async with trio.open_nursery() as self._nursery:
                for child in self._children.values():
                    if child.wanted:
                        child.launch()
                task_status.started()
                await self._closed.wait()
        finally:
            self._nursery = None
            self._since = self.wall()

    async def shutdown(self, deadline_s: float) -> list[str]:
        """Stop every child and end ``run``; returns the paths of services that ignored their cancellation.

        Groups stop one after the other, the highest number first; the services of a group stop concurrently. Each is
        drained (Drainable) until the deadline or its policy.drain_s, then cancelled, then given policy.stop_s to end.
        A second call sets the deadline to now: nothing is drained any more, the order is kept.
        """
        if self._nursery is None:
            return []
        now = trio.current_time()
        if self._closing:
            self.limit(now)
            await self._closed.wait()
        else:
            await self.close(now + deadline_s)
        return self.stuck()

    async def close(self, deadline: float) -> None:
        """As ``shutdown``, with the deadline in loop time; a second call can only bring it forward."""
        if self._nursery is None:
            return
        self.limit(deadline)
        if not self._closing:
            self._closing = True
            self._since = self.wall()
            self.spawn(self._close, f"{self.name} (shutdown)")
        await self._closed.wait()

    def limit(self, deadline: float) -> None:
        """Bring the end of draining forward, for whatever is being stopped now or will be."""
        self._deadline = min(self._deadline, deadline)
        if self._closing:
            for child in self._children.values():
                child.limit(self._deadline)

    async def _close(self) -> None:
        try:
            for group in sorted({child.spec.group for child in self._children.values()}, reverse=True):
                members = [child for child in self._children.values() if child.spec.group == group]
                for child in members:
                    child.begin_halt(self._deadline)
                for child in members:
                    await child.halt_done()
                await self.ledger.flushed()
        finally:
            self._closed.set()

    # -- children --------------------------------------------------------------------------------------------------
    async def add(self, spec: ServiceSpec, *, wait: bool = True) -> ServiceStatus:
        """Add a service and, when running, start it; returns its status once it is not ``starting`` any more.

        Not waiting returns at once. A start that fails is a state, not an exception. Raises ConflictError when the
        name is taken or the supervisor is being stopped.
        """
        if spec.name in self._children:
            raise ConflictError(f"there is a service {self.path_of(spec.name)!r} already")
        self._check_open()
        child = self._children[spec.name] = Child(spec, self)
        if self._nursery is not None:
            child.launch()
            if wait:
                await child.settled()
        return child.status()

    async def remove(self, name: str) -> None:
        """Stop a direct child and forget it. Raises NotFoundError, or ConflictError when it ignores cancellation."""
        child = self._children.get(name)
        if child is None:
            raise NotFoundError(f"no service {self.path_of(name)!r}", next_step="see `hermesctl tree`")
        await self._halt(child)
        if self._children.get(name) is child:
            del self._children[name]
            child.forget()

    async def start(self, path: str, *, wait: bool = True) -> ServiceStatus:
        """Start a stopped or failed service, or one in backoff, with a fresh budget; a running one is left alone.

        Returns as ``add`` does. Raises NotFoundError, or ConflictError when it cannot be started now.
        """
        owner, child = self._resolve(path)
        owner._check_open(running=True)
        if child.stopping and not await child.halt_done():
            raise _ignores_cancellation(child)
        child.launch(by_hand=True)
        if wait:
            await child.settled()
        return child.status()

    async def stop(self, path: str) -> ServiceStatus:
        """Drain and stop a service until it is started again. Raises NotFoundError, ConflictError (it will not)."""
        owner, child = self._resolve(path)
        await owner._halt(child)
        return child.status()

    async def restart(self, path: str, *, wait: bool = True) -> ServiceStatus:
        """Stop and start a service. Raises what ``stop`` and ``start`` raise."""
        await self.stop(path)
        return await self.start(path, wait=wait)

    async def settled(self, path: str) -> ServiceStatus:
        """The status of a service, as soon as it is not ``starting`` any more; raises NotFoundError."""
        child = self._resolve(path)[1]
        await child.settled()
        return child.status()

    def find(self, path: str) -> ServiceStatus:
        """The status of one service by its path; raises NotFoundError."""
        return self._resolve(path)[1].status()

    def service(self, path: str) -> Service | None:
        """The object that runs under this path now, None while there is none; raises NotFoundError."""
        return self._resolve(path)[1].service

    def status(self) -> ServiceStatus:
        """The whole tree, as it is now."""
        state: ServiceState = "stopped"
        if self._nursery is not None:
            state = "draining" if self._closing else "ready"
        children = self.child_statuses()
        return ServiceStatus(name=self._prefix or self.name, state=state, since=self._since, children=children)

    def child_statuses(self) -> list[ServiceStatus]:
        """The status of every child, in the order of their addition."""
        return [child.status() for child in self._children.values()]

    def child_states(self) -> dict[str, ServiceState]:
        """Name → state of every child, without what ``child_statuses`` gathers below them."""
        return {name: child.state for name, child in self._children.items()}

    def tally(self, counts: dict[str, int], failures: list[str]) -> None:
        """Count the services of the whole tree by state, and tell the failed ones, without drawing the tree."""
        for child in self._children.values():
            counts[child.state] = counts.get(child.state, 0) + 1
            if child.state == "failed":
                failures.append(f"{child.path} failed: {child.last_error}")
            if isinstance(child.tree, Supervisor):
                child.tree.tally(counts, failures)

    def stuck(self) -> list[str]:
        """Paths of services that are to be gone and ignore their cancellation, at any depth."""
        found: list[str] = []
        for child in self._children.values():
            if child.alive and child.halted:
                below = child.tree.stuck() if child.tree else []
                found += below or [child.path]
        return found

    async def _halt(self, child: Child) -> None:
        child.wanted = False
        child.begin_halt(self._deadline)
        if not await child.halt_done():
            raise _ignores_cancellation(child)

    def _resolve(self, path: str) -> tuple[Supervisor, Child]:
        for child in self._children.values():
            if child.path == path:
                return self, child
            if path.startswith(f"{child.path}/") and isinstance(child.tree, Supervisor):
                try:
                    return child.tree._resolve(path)
                except NotFoundError:
                    continue
        raise NotFoundError(f"no service {path!r}", next_step="see `hermesctl tree`")

    def _check_open(self, *, running: bool = False) -> None:
        if self._closing and self._nursery is not None:
            raise ConflictError(f"{self._prefix or self.name} is being stopped")
        if running and self._nursery is None:
            where = self._prefix or self.name
            raise ConflictError(f"{where} is not running", next_step=f"start it: hermesctl service start {where}")

    # -- what children need ------------------------------------------------------------------------------------------
    def adopt(self, path: str, host: Host) -> None:
        """Take a place in a tree: the paths of the children follow, missing budgets and listeners are inherited."""
        self._prefix = path
        self.rng = host.rng
        self.wall = host.wall
        self.on_change = self.on_change or host.on_change
        self.budgets = self.budgets or host.budgets
        self.ledger = Ledger(self.budgets, wall=self.wall, spawn=self.spawn)

    def path_of(self, name: str) -> str:
        """The full path of a child: a root adds nothing to it."""
        return f"{self._prefix}/{name}" if self._prefix else name

    def spawn(self, function: Callable[[], Awaitable[None]], name: str) -> None:
        """Run ``function`` as a task of this supervisor, in its own context and not in that of whoever asks."""
        if self._nursery is not None:
            self._context.run(functools.partial(self._nursery.start_soon, function, name=name))

    def changed(self, status: ServiceStatus) -> None:
        """Tell the listener; its bug must not stop the service it is told about."""
        if self.on_change is None:
            return
        try:
            self.on_change(status)
        except Exception:
            log.exception("a listener failed on the state of %s", status.name)


def _ignores_cancellation(child: Child) -> ConflictError:
    return ConflictError(
        f"{child.path} {child.last_error}", next_step="restart the daemon: a task that ignores this cannot be ended"
    )
